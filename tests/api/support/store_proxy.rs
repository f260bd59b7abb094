//! A TCP proxy between the service and its DynamoDB. It sees every call. It can lose answers,
//! refuse calls, hang, or be gone. [`RandomFaults`] disturb it at random.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::AbortHandle,
};

use super::store_faults::{self, RandomFaults};

/// A proxy in front of one DynamoDB.
pub struct StoreProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Mutex<Option<AbortHandle>>,
    /// Keeps the address while nobody listens on it.
    held: Mutex<Option<TcpSocket>>,
}

struct Shared {
    upstream: String,
    calls: Mutex<Vec<Call>>,
    /// Counts down to the answer that is lost; 0 loses none.
    answers_to_swallowed: AtomicU32,
    /// One of so many answers is lost; 0 loses none.
    swallows_one_of: AtomicU32,
    answers: AtomicU32,
    cut_next_answer: AtomicBool,
    hang_next_call: AtomicBool,
    is_hanging: AtomicBool,
    is_throttling: AtomicBool,
    /// The operations that it does not let through.
    lacks: Mutex<&'static [&'static str]>,
    /// The operations that it refuses, after the code.
    refuses: Mutex<(&'static str, &'static [&'static str])>,
    /// The `Date` of the answers. `None` leaves it as it is.
    date: Mutex<Option<&'static str>>,
    /// Counts down to the call that is in conflict; 0 is none.
    calls_to_conflict: AtomicU32,
    /// The reasons for which the next transaction is cancelled, if it is.
    cancels: Mutex<Option<&'static [&'static str]>>,
    /// Counts down to the call that is held, and says on which side.
    held_call: Mutex<Option<(u32, Side)>>,
    holds: Notify,
    loses_held: Notify,
    /// What disturbs the connections, if anything does.
    faults: Mutex<Option<Arc<RandomFaults>>>,
    connections: Mutex<Vec<AbortHandle>>,
}

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// DynamoDB has not got the call.
    Before,
    /// DynamoDB has done the call. The service has not got the answer.
    After,
}

/// A call of DynamoDB.
#[derive(Clone)]
pub struct Call {
    /// The name of the operation.
    pub operation: String,
    /// The body, in DynamoDB's JSON.
    pub body: Value,
}

impl StoreProxy {
    /// Starts a proxy in front of the DynamoDB at `endpoint_url`, an `http:` URL.
    pub async fn start(endpoint_url: &str) -> Self {
        let upstream = endpoint_url
            .strip_prefix("http://")
            .expect("a DynamoDB without TLS");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                upstream: upstream.trim_end_matches('/').to_owned(),
                calls: Mutex::default(),
                answers_to_swallowed: AtomicU32::default(),
                swallows_one_of: AtomicU32::default(),
                answers: AtomicU32::default(),
                cut_next_answer: AtomicBool::default(),
                hang_next_call: AtomicBool::default(),
                is_hanging: AtomicBool::default(),
                is_throttling: AtomicBool::default(),
                lacks: Mutex::default(),
                refuses: Mutex::default(),
                date: Mutex::default(),
                calls_to_conflict: AtomicU32::default(),
                cancels: Mutex::default(),
                held_call: Mutex::default(),
                holds: Notify::new(),
                loses_held: Notify::new(),
                faults: Mutex::default(),
                connections: Mutex::default(),
            }),
            accepting: Mutex::default(),
            held: Mutex::default(),
        };
        proxy.accept(listener);
        proxy
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = tokio::spawn(connection(client, Arc::clone(&shared)));
                shared
                    .connections
                    .lock()
                    .unwrap()
                    .push(connection.abort_handle());
            }
        });
        *self.accepting.lock().unwrap() = Some(accepting.abort_handle());
    }

    /// The address that the service uses for DynamoDB.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes the operations of the calls so far.
    pub fn take_calls(&self) -> Vec<String> {
        self.shared
            .calls
            .lock()
            .unwrap()
            .drain(..)
            .map(|call| call.operation)
            .collect()
    }

    /// Takes the bodies of the calls so far.
    pub fn take_bodies(&self) -> Vec<Value> {
        self.shared
            .calls
            .lock()
            .unwrap()
            .drain(..)
            .map(|call| call.body)
            .collect()
    }

    /// Passes the next call on, and loses its answer with the connection.
    pub fn swallow_next_answer(&self) {
        self.swallow_answer(1);
    }

    /// Loses the answer of the call that comes `nth` from now. The operation makes its calls one
    /// after the other.
    pub fn swallow_answer(&self, nth: u32) {
        self.shared.answers_to_swallowed.store(nth, SeqCst);
    }

    /// Loses one of each `count` answers from now on.
    pub fn swallow_one_answer_of(&self, count: u32) {
        self.shared.swallows_one_of.store(count, SeqCst);
    }

    /// Passes the next call on, and cuts its answer off after the head.
    pub fn cut_next_answer(&self) {
        self.shared.cut_next_answer.store(true, SeqCst);
    }

    /// Refuses calls from now on, as DynamoDB does when there are too many. No emulator does so.
    pub fn throttle(&self) {
        self.shared.is_throttling.store(true, SeqCst);
    }

    /// Refuses these operations from now on, as an emulator does that does not have them.
    pub fn lack(&self, operations: &'static [&'static str]) {
        *self.shared.lacks.lock().unwrap() = operations;
    }

    /// Refuses these operations from now on with this code, as DynamoDB does if the credentials do
    /// not allow them, or are wrong. No emulator does so.
    pub fn refuse(&self, code: &'static str, operations: &'static [&'static str]) {
        *self.shared.refuses.lock().unwrap() = (code, operations);
    }

    /// Answers with this `Date` from now on, as if DynamoDB's clock was wrong. It has 29 characters
    /// (RFC 9110 section 5.6.7).
    pub fn set_date(&self, date: &'static str) {
        *self.shared.date.lock().unwrap() = Some(date);
    }

    /// Refuses the call that comes `nth` from now, as DynamoDB does while a transaction on the
    /// same item is under way. The embedded DynamoDB never does so.
    pub fn conflict(&self, nth: u32) {
        self.shared.calls_to_conflict.store(nth, SeqCst);
    }

    /// Holds the call that comes `nth` from now, on one side of it, until it is lost. The proxy
    /// hangs from then on.
    pub fn hold_call(&self, nth: u32, side: Side) {
        *self.shared.held_call.lock().unwrap() = Some((nth, side));
    }

    /// Ends a hang.
    pub fn go_on(&self) {
        self.shared.is_hanging.store(false, SeqCst);
    }

    /// Waits until the proxy holds the call.
    pub async fn holds_call(&self) {
        self.shared.holds.notified().await;
    }

    /// Ends the connection of the call that the proxy holds, as if the call had got lost.
    pub fn lose_held_call(&self) {
        self.shared.loses_held.notify_one();
    }

    /// Cancels the next transaction. Each action has a reason.
    pub fn cancel(&self, codes: &'static [&'static str]) {
        *self.shared.cancels.lock().unwrap() = Some(codes);
    }

    /// Takes the next call, and does not answer it.
    pub fn hang_next_call(&self) {
        self.shared.hang_next_call.store(true, SeqCst);
    }

    /// Takes calls from now on, and does not answer them.
    pub fn hang(&self) {
        self.shared.is_hanging.store(true, SeqCst);
    }

    /// Disturbs at random each connection that is made from now on. Nothing else that this proxy
    /// does concerns these connections.
    pub fn disturb(&self, faults: Arc<RandomFaults>) {
        *self.shared.faults.lock().unwrap() = Some(faults);
    }

    /// Ends every connection and refuses new ones, as if DynamoDB was gone.
    pub async fn stop(&self) {
        let accepting = self
            .accepting
            .lock()
            .unwrap()
            .take()
            .expect("it is running");
        accepting.abort();
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
        let held = loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            match socket.bind(self.address) {
                Ok(()) => break socket,
                Err(_) => tokio::task::yield_now().await, // the listener is not dropped yet
            }
        };
        *self.held.lock().unwrap() = Some(held);
    }

    /// Takes connections again, at the same address.
    pub fn restart(&self) {
        let held = self.held.lock().unwrap().take().expect("it is stopped");
        self.accept(held.listen(1024).unwrap());
    }
}

/// The answer of a DynamoDB that refuses a call.
pub fn refusal(code: &str, body: Value) -> Vec<u8> {
    error("400 Bad Request", code, body)
}

/// An error of DynamoDB, as the bytes of an HTTP/1.1 response.
pub fn error(status: &str, code: &str, mut body: Value) -> Vec<u8> {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{code}"));
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The refusal when there are too many calls.
pub fn throttled() -> Vec<u8> {
    let message = "Rate of requests exceeds the limit.";
    refusal("ThrottlingException", json!({ "message": message }))
}

/// The refusal while a transaction on the item of the call is under way.
fn conflict() -> Vec<u8> {
    let message = "Transaction is ongoing for the item";
    refusal(
        "TransactionConflictException",
        json!({ "message": message }),
    )
}

/// The refusal of a transaction. Each action has a reason.
fn cancelled(codes: &[&str]) -> Vec<u8> {
    let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
    let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
    let body = json!({ "message": message, "CancellationReasons": reasons });
    refusal("TransactionCanceledException", body)
}

/// The refusal of a transaction of so many actions, while another one on the first item is under
/// way.
pub fn cancelled_by_conflict(actions: usize) -> Vec<u8> {
    let mut codes = vec!["None"; actions];
    codes[0] = "TransactionConflict";
    cancelled(&codes)
}

async fn connection(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let upstream = TcpStream::connect(&shared.upstream).await?;
    let faults = shared.faults.lock().unwrap().clone();
    if let Some(faults) = faults {
        return store_faults::connection(client, upstream, &shared.upstream, &faults).await;
    }
    let (from_client, to_client) = client.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    let connection = Connection {
        shared,
        to_client: tokio::sync::Mutex::new(to_client),
        holds_answer: AtomicBool::default(),
    };
    tokio::select! {
        ended = connection.carry_calls(from_client, to_upstream) => ended,
        ended = connection.carry_answers(from_upstream) => ended,
    }
}

/// A connection of the service.
struct Connection {
    shared: Arc<Shared>,
    to_client: tokio::sync::Mutex<OwnedWriteHalf>,
    /// The answer of the call is held.
    holds_answer: AtomicBool,
}

impl Connection {
    async fn carry_calls(
        &self,
        mut from_client: OwnedReadHalf,
        mut to_upstream: OwnedWriteHalf,
    ) -> io::Result<()> {
        let shared = &self.shared;
        while let Some((call, bytes)) = read_call(&mut from_client, &shared.upstream).await? {
            shared.calls.lock().unwrap().push(call.clone());
            if shared.hang_next_call.swap(false, SeqCst) || shared.is_hanging.load(SeqCst) {
                std::future::pending::<()>().await;
            }
            let held = shared.side_to_hold();
            if held == Some(Side::Before) {
                shared.hold().await;
                return Ok(());
            }
            self.holds_answer.store(held.is_some(), SeqCst);
            match shared.refusal_of(&call) {
                Some(refusal) => self.answer(&refusal).await?,
                None => to_upstream.write_all(&bytes).await?,
            }
        }
        Ok(())
    }

    async fn carry_answers(&self, mut from_upstream: OwnedReadHalf) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_upstream.read(&mut buffer).await?;
            if self.holds_answer.load(SeqCst) {
                self.shared.hold().await;
                return Ok(());
            }
            let is_lost = self.shared.loses_answer();
            if length == 0 || is_lost {
                return Ok(());
            }
            let answer = &mut buffer[..length];
            self.shared.date(answer);
            let answer = &*answer;
            if self.shared.cut_next_answer.swap(false, SeqCst) {
                let head = head_length(answer).unwrap();
                return self.answer(&answer[..head]).await;
            }
            self.answer(answer).await?;
        }
    }

    async fn answer(&self, bytes: &[u8]) -> io::Result<()> {
        self.to_client.lock().await.write_all(bytes).await
    }
}

impl Shared {
    /// The refusal of the call, if the proxy refuses it.
    fn refusal_of(&self, call: &Call) -> Option<Vec<u8>> {
        let is_in_conflict = counts_down(&self.calls_to_conflict);
        let actions = call.body["TransactItems"].as_array().map(Vec::len);
        if self
            .lacks
            .lock()
            .unwrap()
            .contains(&call.operation.as_str())
        {
            return Some(refusal("UnknownOperationException", json!({})));
        }
        let (code, operations) = *self.refuses.lock().unwrap();
        if operations.contains(&call.operation.as_str()) {
            return Some(refusal(code, json!({ "message": "refused" })));
        }
        if actions.is_some()
            && let Some(codes) = self.cancels.lock().unwrap().take()
        {
            return Some(cancelled(codes));
        }
        if is_in_conflict {
            return Some(actions.map_or_else(conflict, cancelled_by_conflict));
        }
        self.is_throttling.load(SeqCst).then(throttled)
    }

    /// Puts the wrong `Date` into the head of an answer.
    fn date(&self, answer: &mut [u8]) {
        const NAME: &[u8] = b"\r\ndate: ";
        let Some(date) = *self.date.lock().unwrap() else {
            return;
        };
        let mut windows = answer.windows(NAME.len());
        if let Some(at) = windows.position(|bytes| bytes.eq_ignore_ascii_case(NAME)) {
            let value = at + NAME.len();
            answer[value..value + date.len()].copy_from_slice(date.as_bytes());
        }
    }

    /// Counts an answer, and says whether it is lost.
    fn loses_answer(&self) -> bool {
        let is_the_one = counts_down(&self.answers_to_swallowed);
        let answers = self.answers.fetch_add(1, SeqCst) + 1;
        let one_of = self.swallows_one_of.load(SeqCst);
        is_the_one || answers.checked_rem(one_of) == Some(0)
    }

    /// Counts a call, and says on which side to hold it, if it is the one to hold.
    fn side_to_hold(&self) -> Option<Side> {
        let mut held = self.held_call.lock().unwrap();
        let (left, side) = held.take()?;
        if left == 1 {
            return Some(side);
        }
        *held = Some((left - 1, side));
        None
    }

    /// Holds a call. Returns when the call is to be lost.
    async fn hold(&self) {
        self.is_hanging.store(true, SeqCst);
        self.holds.notify_one();
        self.loses_held.notified().await;
    }
}

/// Counts down to 0, and says whether it was 1.
fn counts_down(left: &AtomicU32) -> bool {
    let before = left.fetch_update(SeqCst, SeqCst, |left| Some(left.saturating_sub(1)));
    before == Ok(1)
}

/// The length of the head of a message that begins with it.
fn head_length(message: &[u8]) -> Option<usize> {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    Some(end + 4)
}

/// One HTTP/1.1 request with a `Content-Length`, and its bytes for `upstream`. `None` at the
/// end.
pub async fn read_call(
    from: &mut (impl AsyncReadExt + Unpin),
    upstream: &str,
) -> io::Result<Option<(Call, Vec<u8>)>> {
    let Some((head, mut request)) = read_message(from).await? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let target = field(&text, "x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&request[head..]).unwrap_or_default();
    // The service may know it by another name.
    let host = field(&text, "host").unwrap_or_default();
    let named = text.replacen(&format!("host: {host}"), &format!("host: {upstream}"), 1);
    request.splice(..head, named.into_bytes());
    Ok(Some((Call { operation, body }, request)))
}

/// One HTTP/1.1 message with a `Content-Length` or in chunks (RFC 9112 section 7.1), after the
/// length of its head. `None` at the end.
pub async fn read_message(
    from: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<Option<(usize, Vec<u8>)>> {
    let mut message = Vec::new();
    let head = loop {
        if let Some(length) = head_length(&message) {
            break length;
        }
        if from.read_buf(&mut message).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&message[..head]).into_owned();
    let is_chunked = field(&text, "transfer-encoding").is_some();
    let length = field(&text, "content-length").map_or(0, |length| length.parse().unwrap());
    while match is_chunked {
        true => !has_last_chunk(&message[head..]),
        false => message.len() < head + length,
    } {
        if from.read_buf(&mut message).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, message)))
}

/// Whether these chunks are whole.
fn has_last_chunk(mut chunks: &[u8]) -> bool {
    loop {
        let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") else {
            return false;
        };
        let size = String::from_utf8_lossy(&chunks[..end]);
        let size = usize::from_str_radix(&size, 16).expect("no extension");
        let Some(rest) = chunks.get(end + 2 + size + 2..) else {
            return false;
        };
        if size == 0 {
            return true;
        }
        chunks = rest;
    }
}

/// The value of a field of the head of a message.
fn field(head: &str, name: &str) -> Option<String> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}
