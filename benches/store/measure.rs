//! Walks all pages, and times the requests of clients.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    fill::{email, new_user, user_id},
    process::{Memory, Service},
};

/// The number of users in a page that is timed.
const PAGE: usize = 50;
/// The number of users in a page of the walk.
const WALK_PAGE: u64 = 100;
/// The most cursors that are kept of a walk.
const CURSORS: u64 = 256;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST /users`
    Create,
    /// `GET /users/{userId}`
    Read,
    /// `GET /users` without a cursor
    ListFirst,
    /// `GET /users` with a cursor from the middle half of the walk
    ListMiddle,
    /// `PATCH /users/{userId}`
    Patch,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Read,
        Self::ListFirst,
        Self::ListMiddle,
        Self::Patch,
    ];

    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::ListFirst => "list 50, first page",
            Self::ListMiddle => "list 50, a page in the middle",
            Self::Patch => "patch",
        }
    }
}

/// The memory of the service while a client walks all pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// The number of pages.
    pub pages: u64,
    /// After the first page.
    pub first: Memory,
    /// After a tenth of the pages.
    pub tenth: Memory,
    /// After the last page.
    pub end: Memory,
}

/// A service with a number of users, and what was measured.
pub struct Store {
    /// The number of users at the start.
    pub users: u64,
    /// The memory while walking.
    pub walk: Walk,
    /// The times of the requests of each of [`Operation::ALL`], in µs.
    pub times: [Vec<f64>; Operation::ALL.len()],
    service: Service,
    /// Cursors from the middle half of the walk.
    cursors: Vec<String>,
}

/// The part of a page that the walk needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<IgnoredAny>,
    next_cursor: Option<String>,
}

impl Store {
    /// Starts a service on `file`, which has this many users, and walks all of them.
    pub async fn open(users: u64, file: &Path) -> Self {
        let mut store = Self {
            users,
            walk: Walk::default(),
            times: Default::default(),
            service: Service::start(file).await,
            cursors: Vec::new(),
        };
        store.walk().await;
        store.check_claim().await;
        store
    }

    /// The imported users are whole: the service finds them by their claims, too.
    async fn check_claim(&self) {
        let last = self.users - 1;
        let path = format!("/users?email={}", email(last));
        let request = self.service.request(Method::GET, &path, String::new());
        let (status, body) = self.service.send(request).await;
        assert_eq!(status, StatusCode::OK);
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(&user_id(last)), "{body}");
    }

    async fn walk(&mut self) {
        let expected = self.users.div_ceil(WALK_PAGE);
        let kept = (expected / 4).max(1)..=(expected * 3 / 4).max(1);
        let step = (expected / 2).div_ceil(CURSORS).max(1);
        let (mut pages, mut users) = (0, 0);
        let mut path = format!("/users?limit={WALK_PAGE}");
        loop {
            let page = self.page(&path).await;
            pages += 1;
            users += page.items.len() as u64;
            if pages == 1 {
                self.walk.first = self.service.memory();
            }
            if pages == expected.div_ceil(10) {
                self.walk.tenth = self.service.memory();
            }
            let Some(cursor) = page.next_cursor else {
                break;
            };
            path = format!("/users?limit={WALK_PAGE}&cursor={cursor}");
            if kept.contains(&pages) && pages.is_multiple_of(step) {
                self.cursors.push(cursor);
            }
        }
        assert_eq!(users, self.users, "the walk sees each user");
        self.walk.pages = pages;
        self.walk.end = self.service.memory();
    }

    async fn page(&self, path: &str) -> Page {
        let request = self.service.request(Method::GET, path, String::new());
        let (status, body) = self.service.send(request).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).expect("a page is JSON")
    }

    /// Sends a request, and keeps its time.
    async fn time(&mut self, operation: Operation) {
        let times = self.times[operation as usize].len();
        let request = self.request(operation, times);
        let started = Instant::now();
        let (status, body) = self.service.send(request).await;
        let time = started.elapsed();
        let expected = match operation {
            Operation::Create => StatusCode::CREATED,
            Operation::Read | Operation::ListFirst | Operation::ListMiddle | Operation::Patch => {
                StatusCode::OK
            }
        };
        assert_eq!(status, expected, "{operation:?}");
        if matches!(operation, Operation::ListFirst | Operation::ListMiddle) {
            let page: Page = serde_json::from_slice(&body).expect("a page is JSON");
            assert_eq!(page.items.len(), PAGE, "{operation:?}");
        }
        self.times[operation as usize].push(us(time));
    }

    /// The request of this kind after `sent` others.
    fn request(&self, operation: Operation, sent: usize) -> Request<Full<Bytes>> {
        let someone = || format!("/users/{}", user_id(fastrand::u64(1..self.users)));
        let (method, path, body) = match operation {
            Operation::Create => {
                let body = new_user(&format!("created-{sent}@example.com"));
                (Method::POST, String::from("/users"), body)
            }
            Operation::Read => (Method::GET, someone(), String::new()),
            Operation::ListFirst => (Method::GET, format!("/users?limit={PAGE}"), String::new()),
            Operation::ListMiddle => {
                let cursor = fastrand::choice(&self.cursors).expect("the walk had several pages");
                let path = format!("/users?limit={PAGE}&cursor={cursor}");
                (Method::GET, path, String::new())
            }
            Operation::Patch => {
                let body = format!(r#"{{"name":"Ada King {sent}"}}"#);
                (Method::PATCH, someone(), body)
            }
        };
        self.service.request(method, &path, body)
    }
}

/// Sends each kind of request `requests` times to each service. The services take turns, so that a
/// busy machine slows all of them.
pub async fn round(stores: &mut [Store], requests: usize) {
    for operation in Operation::ALL {
        for store in &mut *stores {
            for _ in 0..requests {
                store.time(operation).await;
            }
        }
    }
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
