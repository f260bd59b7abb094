//! Many writers of one user, or of one address, in many processes: the Lambda binary, as
//! AWS runs its sandboxes, and `user-service`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::support::{
    Service, Setup, Through, claims_are_those_of_the_users,
    program::{Running, user_service},
    some_email, some_id,
};

const PROCESSES: usize = 8;
const WRITERS: usize = 64;
/// The version of a user after all of them.
const ALL_COUNTED: u64 = 65;
/// Connections to one server, and the requests that they send together.
const CONNECTIONS: usize = 16;
const REQUESTS: usize = 2_000;

/// Each test here holds this, so that the tests do not slow each other down.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// A `user-service` over the tables of `service`.
async fn server(service: &Service) -> Running {
    let mut command = user_service(&[
        "--port=0",
        "--no-sample",
        "--table",
        service.table(),
        "--emails-table",
        service.emails_table(),
        "--idempotency-table",
        service.idempotency_table(),
        "--deleted-users-table",
        service.deleted_users_table(),
        "--history-table",
        service.history_table(),
    ]);
    let endpoint = service.store().endpoint_url();
    command.env("AWS_ENDPOINT_URL_DYNAMODB", endpoint);
    Running::start(command).await
}

/// Processes of the service over the tables of one DynamoDB.
struct Processes {
    /// The Lambda binaries where there are no `servers`; else only the tables of those.
    service: Service,
    servers: Vec<Running>,
}

impl Processes {
    async fn of_lambda() -> Self {
        let setup = Setup {
            sandboxes: PROCESSES,
            through: Some(Through::Lambda),
            ..Setup::default()
        };
        Self {
            service: setup.start().await,
            servers: Vec::new(),
        }
    }

    async fn of_user_service() -> Self {
        let service = Service::start().await;
        let servers = join_all((0..PROCESSES).map(|_| server(&service))).await;
        Self { service, servers }
    }

    /// Sends each of the `requests` at once, spread over the processes: the statuses and
    /// the bodies of the answers.
    async fn send_all(&self, requests: Vec<(Method, String, Value)>) -> Vec<(u16, Value)> {
        let answers = requests
            .iter()
            .enumerate()
            .map(async |(index, (method, path, body))| {
                if self.servers.is_empty() {
                    let answer = self
                        .service
                        .send_json(method.clone(), path, &[], body)
                        .await;
                    return (answer.status.as_u16(), answer.json());
                }
                let server = &self.servers[index % self.servers.len()];
                let (status, _, body) = server.send(method.clone(), path, &[], body).await;
                (status, body)
            });
        join_all(answers).await
    }

    /// A new user: its path and its address.
    async fn user(&self) -> (String, String) {
        let email = some_email();
        let user = json!({ "userId": some_id(), "name": "A canary", "email": email });
        let created = self.service.post("/users", &user).await.has_status(201);
        (created.header("location").to_owned(), email)
    }

    async fn read(&self, path: &str) -> Value {
        let path = format!("{path}?consistent=true");
        self.service.get(&path).await.has_status(200).json()
    }

    async fn metadata_patches_of_one_user_all_hold(&self) {
        let (path, _) = self.user().await;
        let patch = |number| json!({ "metadata": { format!("k{number}"): number } });
        let patches = (0..WRITERS).map(|number| (Method::PATCH, path.clone(), patch(number)));
        for answer in self.send_all(patches.collect()).await {
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        let keys = (0..WRITERS).map(|number| (format!("k{number}"), json!(number)));
        let user = self.read(&path).await;
        assert_eq!(user["metadata"], Value::Object(keys.collect()));
        assert_eq!(user["version"], ALL_COUNTED);
    }

    async fn moves_of_one_users_address_all_succeed_and_leave_one_claim(&self) {
        let (path, _) = self.user().await;
        let put = || json!({ "name": "A canary", "email": some_email() });
        let puts = (0..WRITERS).map(|_| (Method::PUT, path.clone(), put()));
        for answer in self.send_all(puts.collect()).await {
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        assert_eq!(self.read(&path).await["version"], ALL_COUNTED);
        claims_are_those_of_the_users(&self.service).await;
    }

    async fn answers_that_are_lost_make_no_difference(&self) {
        self.service.store().swallow_one_answer_of(10);
        self.all_writers_are_answered_as_promised().await;
        self.service.store().swallow_one_answer_of(0);
    }

    async fn plain_puts_of_one_user_are_each_counted(&self) {
        let (path, email) = self.user().await;
        let put = |number| json!({ "name": format!("Canary {number}"), "email": email });
        let puts = (0..WRITERS).map(|number| (Method::PUT, path.clone(), put(number)));
        let versions: BTreeSet<_> = self
            .send_all(puts.collect())
            .await
            .into_iter()
            .map(|(status, user)| {
                assert_eq!(status, 200, "{user}");
                user["version"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(versions, (2..=ALL_COUNTED).collect());
        assert_eq!(self.read(&path).await["version"], ALL_COUNTED);
    }

    async fn creates_of_one_address_are_one_201(&self) {
        let user = json!({ "name": "A canary", "email": some_email() });
        let creates = (0..WRITERS).map(|_| (Method::POST, "/users".to_owned(), user.clone()));
        let answers = self.send_all(creates.collect()).await;
        let count = |status| answers.iter().filter(|answer| answer.0 == status).count();
        assert_eq!((count(201), count(409)), (1, WRITERS - 1), "{answers:?}");
        claims_are_those_of_the_users(&self.service).await;
    }

    /// The first one verifies the address, so nobody can take it after that.
    async fn takes_of_one_address_are_one_200(&self) {
        let (loser, email) = self.user().await;
        let mut takers = Vec::new();
        for _ in 0..WRITERS {
            takers.push(self.user().await.0);
        }
        let take = json!({ "email": email, "emailVerified": true });
        let takes = takers.iter().map(|path| {
            (
                Method::PATCH,
                format!("{path}?takeEmail=true"),
                take.clone(),
            )
        });
        let answers = self.send_all(takes.collect()).await;
        let count = |status| answers.iter().filter(|answer| answer.0 == status).count();
        assert_eq!((count(200), count(409)), (1, WRITERS - 1), "{answers:?}");
        let lost = self.read(&loser).await;
        assert_eq!(
            [&lost["email"], &lost["version"]],
            [&Value::Null, &json!(2)]
        );
        let _ = self.service.delete(&loser).await.has_status(204);
        claims_are_those_of_the_users(&self.service).await;
    }

    async fn all_writers_are_answered_as_promised(&self) {
        self.metadata_patches_of_one_user_all_hold().await;
        self.moves_of_one_users_address_all_succeed_and_leave_one_claim()
            .await;
        self.plain_puts_of_one_user_are_each_counted().await;
        self.creates_of_one_address_are_one_201().await;
        self.takes_of_one_address_are_one_200().await;
    }

    async fn keep_their_promises(&self) {
        self.all_writers_are_answered_as_promised().await;
        self.answers_that_are_lost_make_no_difference().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_lambda_processes_keep_their_promises_to_64_concurrent_writers() {
    let _machine = MACHINE.lock().await;
    Processes::of_lambda().await.keep_their_promises().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_servers_keep_their_promises_to_64_concurrent_writers() {
    let _machine = MACHINE.lock().await;
    let servers = Processes::of_user_service().await;
    servers.keep_their_promises().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_16_connections_answers_no_500() {
    let _machine = MACHINE.lock().await;
    let service = Service::start().await;
    let server = server(&service).await;
    let user = json!({ "name": "A canary", "email": some_email() });
    let created = server.send(Method::POST, "/users", &[], &user).await;
    let path = created.1["location"].to_str().unwrap().to_owned();
    // More of them where that is asked for: 300,000 make a soak.
    let requests = std::env::var("SOAK_REQUESTS");
    let requests = requests.map_or(REQUESTS, |text| text.parse().unwrap());
    let client = async |connection: usize| {
        for number in (connection..requests).step_by(CONNECTIONS) {
            let (method, path, body) = match number % 10 {
                0 => {
                    let key = format!("k{}", number % 1_000);
                    let patch = json!({ "metadata": { key: number } });
                    (Method::PATCH, path.as_str(), patch)
                }
                1 => (Method::GET, "/users?limit=5", Value::Null),
                _ => (Method::GET, path.as_str(), Value::Null),
            };
            let answer = server.send(method, path, &[], &body).await;
            assert_eq!(answer.0, 200, "{answer:?}");
        }
    };
    join_all((0..CONNECTIONS).map(client)).await;
    let user = server.get(&path).await.1;
    assert_eq!(user["version"], 1 + requests / 10);
}
