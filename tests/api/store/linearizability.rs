//! Linearizability: whatever happens between the service and its DynamoDB, each request has its
//! effect at one moment between the request and its answer, or any time later where the answer is
//! 500.
//!
//! Clients send requests at random to users of their own, through many processes of the service.
//! Faults at random disturb the calls of DynamoDB. Of each history that comes about, a search
//! finds an order that [`model`] allows, or the test fails. Three variables:
//! - `LINEARIZABILITY_SEED`: chooses the requests and the faults. (Not how they fall together:
//!   a seed that failed may pass.)
//! - `LINEARIZABILITY_USERS`: for how many users there are histories, two users to each: 200, and
//!   2,000 in `.ci/run`, which takes a minute on two cores.
//! - `LINEARIZABILITY_LATE`: how many of 1,000 calls come late.

mod checker;
mod model;

use std::{
    collections::BTreeMap,
    env,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fastrand::Rng;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::{
    checker::linearize,
    model::{Answer, Call, Condition, Input, Metadata, Patch, State, USERS, User, Users},
};
use crate::support::{
    self, CANARY, RandomFaults, Rates, Service, Setup, Through, all_users,
    claims_are_those_of_the_users,
};

/// Processes of the service.
const SANDBOXES: usize = 32;
/// Histories that come about at a time.
const GROUPS: usize = 8;
/// The processes of a history: clients that send one request after the other.
const CLIENTS: usize = 4;
const REQUESTS_OF_A_CLIENT: usize = 4;
const ADDRESSES: usize = 3;

const RATES: Rates = Rates {
    disturbed: 100,
    cut_off: 10,
    delayed: 300,
    stalled: 2,
    late: 3,
    longest_delay: Duration::from_millis(10),
    forgets_tokens: false,
};

type Operation = checker::Operation<Call, Answer>;

/// The histories of one run.
struct Run {
    service: Service,
    seed: u64,
    /// Orders all events of all histories.
    clock: AtomicU64,
    faults: Arc<RandomFaults>,
    /// How many answers have which status.
    statuses: Mutex<BTreeMap<u16, usize>>,
}

/// Users who compete for addresses, and their clients.
struct Group {
    id: Uuid,
    /// The last state of each user that a client has seen.
    seen: Mutex<[Option<User>; USERS]>,
    history: Mutex<Vec<(usize, Operation)>>,
}

impl Run {
    async fn start(seed: u64, rates: Rates) -> Self {
        let setup = Setup {
            sandboxes: SANDBOXES,
            through: Some(Through::Lambda),
            environment: &[("RUST_LOG", "info")],
            ..Setup::default()
        };
        let service = setup.start().await;
        let faults = Arc::new(RandomFaults::new(seed, rates));
        service.store().disturb(Arc::clone(&faults));
        Self {
            service,
            seed,
            clock: AtomicU64::default(),
            faults,
            statuses: Mutex::default(),
        }
    }

    /// Lets `count` histories come about.
    async fn groups(&self, count: usize) -> Vec<Group> {
        let next = AtomicUsize::default();
        let groups = Mutex::new(Vec::new());
        join_all((0..GROUPS).map(async |_| {
            loop {
                let number = next.fetch_add(1, SeqCst);
                if number >= count {
                    return;
                }
                let group = Group::new();
                join_all((0..CLIENTS).map(|client| self.client(&group, number, client))).await;
                groups.lock().unwrap().push(group);
            }
        }))
        .await;
        groups.into_inner().unwrap()
    }

    async fn client(&self, group: &Group, number: usize, client: usize) {
        let stream = u64::try_from(number * CLIENTS + client).unwrap();
        let mut rng = Rng::with_seed(self.seed.wrapping_add(stream));
        for nth in 0..REQUESTS_OF_A_CLIENT {
            // Half of the clients begin with a creation.
            let is_creation = nth == 0 && client < CLIENTS / 2;
            let call = group.some_call(&mut rng, is_creation);
            self.send(group, client, call).await;
        }
    }

    async fn send(&self, group: &Group, client: usize, call: Call) {
        let (method, path, headers, body) = group.request(&call);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let invoked = self.clock.fetch_add(1, SeqCst);
        let answer = if body.is_null() {
            self.service.send(method, &path, &headers, "").await
        } else {
            let answer = self.service.send_json(method, &path, &headers, &body);
            answer.await
        };
        let returned = self.clock.fetch_add(1, SeqCst);
        let status = answer.status.as_u16();
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
        let answer = group.known(&answer);
        if answer.is_none() && matches!(call, Call::Read(_) | Call::LookUp(_)) {
            return; // It has no effect.
        }
        let operation = Operation {
            call,
            answer,
            invoked,
            returned,
        };
        group.history.lock().unwrap().push((client, operation));
    }

    /// Reads each user of the groups, once nothing else is under way. The reads end the
    /// histories.
    async fn read_all(&self, groups: &[Group]) {
        self.faults.end().await;
        let users = all_users(&self.service).await;
        for group in groups {
            for who in 0..USERS {
                let user = users.get(&group.user_id(who)).map(shown);
                let answer = Answer {
                    status: if user.is_some() { 200 } else { 404 },
                    code: user.as_ref().map_or("user_not_found", |_| "").to_owned(),
                    user: user.map(|user| (who, user)),
                };
                let operation = Operation {
                    call: Call::Read(who),
                    answer: Some(answer),
                    invoked: self.clock.fetch_add(1, SeqCst),
                    returned: self.clock.fetch_add(1, SeqCst),
                };
                group.history.lock().unwrap().push((CLIENTS, operation));
            }
        }
    }
}

impl Group {
    fn new() -> Self {
        Self {
            id: Uuid::new_v4(),
            seen: Mutex::default(),
            history: Mutex::default(),
        }
    }

    fn user_id(&self, who: usize) -> String {
        format!("{CANARY}-{}-{who}", self.id)
    }

    fn some_email(&self, rng: &mut Rng) -> String {
        let local = format!("{CANARY}{}", rng.usize(..ADDRESSES));
        // Two spellings of one address.
        let local = if rng.u8(..4) == 0 {
            local.to_uppercase()
        } else {
            local
        };
        format!("{local}@{}.example", self.id)
    }

    /// What no other request of the history writes, more or less.
    fn some_input(&self, rng: &mut Rng) -> Input {
        Input {
            name: format!("A canary {}", rng.u32(..)),
            email: self.some_email(rng),
            phone: rng
                .bool()
                .then(|| format!("+4930{:07}", rng.u32(..10_000_000))),
            metadata: rng.bool().then(|| some_metadata(rng, false)),
        }
    }

    fn some_condition(&self, rng: &mut Rng, who: usize) -> Condition {
        let seen = self.seen.lock().unwrap()[who].clone();
        match seen {
            Some(User { tag: Some(tag), .. }) if rng.bool() => Condition::Tag(tag),
            _ => Condition::None,
        }
    }

    fn some_call(&self, rng: &mut Rng, is_creation: bool) -> Call {
        // Most requests are about the same user.
        let who = usize::from(rng.u8(..5) == 0);
        match rng.u8(..if is_creation { 6 } else { 26 }) {
            0 => Call::Create(who, self.some_input(rng), false),
            // Requests under the same key are alike, or most of them.
            1 | 2 => {
                let mut same = Rng::with_seed(rng.u64(..5).saturating_sub(3));
                Call::Create(0, self.some_input(&mut same), true)
            }
            3..6 => Call::CreateAt(who, self.some_input(rng)),
            6..10 => Call::Replace(who, self.some_input(rng), self.some_condition(rng, who)),
            10..12 => {
                let seen = self.seen.lock().unwrap()[who].clone();
                let version = seen.map_or(1, |seen| seen.version);
                Call::Replace(who, self.some_input(rng), Condition::Version(version))
            }
            12..20 => Call::Change(who, self.some_patch(rng), self.some_condition(rng, who)),
            20 => Call::Delete(who, self.some_condition(rng, who)),
            21..24 => Call::Read(who),
            _ => Call::LookUp(self.some_email(rng)),
        }
    }

    fn some_patch(&self, rng: &mut Rng) -> Patch {
        let mut patch = Patch::default();
        match rng.u8(..7) {
            0 => patch.name = Some(format!("A canary {}", rng.u32(..))),
            1 | 2 => patch.email = Some(self.some_email(rng)),
            3 => {
                patch.email = Some(self.some_email(rng));
                patch.metadata = Some(some_metadata(rng, true));
            }
            _ => patch.metadata = Some(some_metadata(rng, true)),
        }
        patch
    }

    /// Method, path, header fields and body of a request.
    fn request(&self, call: &Call) -> (Method, String, Vec<(&'static str, String)>, Value) {
        let path = |who: &usize| format!("/users/{}", self.user_id(*who));
        match call {
            Call::Create(who, input, has_key) => {
                let mut body = json!(input);
                body["userId"] = json!(self.user_id(*who));
                let key = has_key.then(|| ("idempotency-key", self.id.to_string()));
                (
                    Method::POST,
                    "/users".to_owned(),
                    key.into_iter().collect(),
                    body,
                )
            }
            Call::CreateAt(who, input) => {
                let headers = vec![("if-none-match", "*".to_owned())];
                (Method::PUT, path(who), headers, json!(input))
            }
            Call::Replace(who, input, condition) => {
                let mut body = json!(input);
                if let Condition::Version(version) = condition {
                    body["version"] = json!(version);
                }
                (Method::PUT, path(who), if_match(condition), body)
            }
            Call::Change(who, patch, condition) => {
                (Method::PATCH, path(who), if_match(condition), json!(patch))
            }
            Call::Delete(who, condition) => {
                (Method::DELETE, path(who), if_match(condition), Value::Null)
            }
            Call::Read(who) => {
                let path = format!("{}?consistent=true", path(who));
                (Method::GET, path, Vec::new(), Value::Null)
            }
            Call::LookUp(email) => {
                let path = format!("/users?email={email}");
                (Method::GET, path, Vec::new(), Value::Null)
            }
        }
    }

    /// What an answer tells: none where it leaves the outcome open.
    fn known(&self, answer: &support::Answer) -> Option<Answer> {
        let status = answer.status.as_u16();
        let body = match answer.body.as_str() {
            "" => Value::Null,
            _ => answer.json(),
        };
        if status >= 500 {
            assert_eq!(body["code"], "store_unavailable", "{answer:?}");
            return None;
        }
        let user = body["userId"].as_str().map(|user_id| {
            let who = (0..USERS).find(|who| self.user_id(*who) == user_id);
            let who = who.expect("a user of another history is shown to nobody");
            let user = shown(&body);
            assert_eq!(user.tag.as_deref(), Some(answer.header("etag")));
            self.seen.lock().unwrap()[who] = Some(user.clone());
            (who, user)
        });
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Some(Answer { status, code, user })
    }

    /// What is wrong with the history, if anything is.
    fn violation(self) -> Option<String> {
        let mut history = self.history.into_inner().unwrap();
        history.sort_by_key(|(_, operation)| operation.invoked);
        let (clients, history): (Vec<_>, Vec<_>) = history.into_iter().unzip();
        let longest = linearize::<Users>(&State::default(), &history).err()?;
        let lines: Vec<_> = history
            .iter()
            .zip(clients)
            .enumerate()
            .map(|(index, (operation, client))| line(index, operation, client))
            .collect();
        let lines = lines.join("\n");
        Some(format!(
            "No order of these requests explains the answers. The longest that explains some is \
             {longest:?}.\n{lines}"
        ))
    }
}

fn some_metadata(rng: &mut Rng, removes: bool) -> Metadata {
    let keys = 0..rng.usize(1..3);
    let members = keys.map(|_| {
        let is_removed = removes && rng.u8(..4) == 0;
        let value = (!is_removed).then(|| rng.u32(..));
        (format!("k{}", rng.u8(..3)), value)
    });
    members.collect()
}

fn if_match(condition: &Condition) -> Vec<(&'static str, String)> {
    match condition {
        Condition::Tag(tag) => vec![("if-match", tag.clone())],
        Condition::None | Condition::Version(_) => Vec::new(),
    }
}

/// The user of a JSON object, with the entity-tag of it.
fn shown(user: &Value) -> User {
    let hash = Sha256::digest(user.to_string());
    let hash = BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]);
    let input: Input = serde_json::from_value(user.clone()).unwrap();
    User {
        input,
        version: user["version"].as_u64().unwrap(),
        created_at: Some(user["createdAt"].as_str().unwrap().to_owned()),
        tag: Some(format!("\"{hash}\"")),
    }
}

/// An operation, to be read.
fn line(index: usize, operation: &Operation, client: usize) -> String {
    let Operation {
        call,
        answer,
        invoked,
        returned,
    } = operation;
    let answer = match answer {
        None => "500, outcome unknown".to_owned(),
        Some(Answer {
            status,
            code,
            user: None,
        }) => format!("{status} {code}"),
        Some(Answer {
            status,
            user: Some((who, user)),
            ..
        }) => format!("{status} {who} {user:?}"),
    };
    format!("{index:>3}. client {client}, {invoked} to {returned}: {call:?}\n       {answer}")
}

/// A number that the environment gives.
fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{variable} is a number, and not {text}")))
}

/// The first history without an order, after as many as there are for so many users.
async fn search(users: usize, rates: Rates) -> (Run, Option<String>) {
    let seed = number("LINEARIZABILITY_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LINEARIZABILITY_SEED={seed}");
    let run = Run::start(seed, rates).await;
    let groups = run.groups(users.div_ceil(USERS)).await;
    run.read_all(&groups).await;
    println!(
        "faults: {:?}\nanswers: {:?}",
        run.faults.met(),
        run.statuses.lock().unwrap()
    );
    let violations: Vec<_> = groups.into_iter().filter_map(Group::violation).collect();
    println!("histories without an order: {}", violations.len());
    (run, violations.into_iter().next())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_its_effect_at_one_moment_whatever_happens_on_the_way_to_the_store() {
    let users = number("LINEARIZABILITY_USERS").unwrap_or(200);
    let rates = Rates {
        late: number("LINEARIZABILITY_LATE").unwrap_or(RATES.late),
        ..RATES
    };
    let (run, violation) = search(users, rates).await;
    if let Some(violation) = violation {
        panic!("{violation}");
    }
    claims_are_those_of_the_users(&run.service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_makes_transactions_twice_is_found_out() {
    let rates = Rates {
        disturbed: 300,
        forgets_tokens: true,
        ..RATES
    };
    let (_, violation) = search(100, rates).await;
    assert!(violation.is_some());
}
