//! Faults at random between the service and its DynamoDB, from a seed: answers that are lost,
//! refusals, failures on either side of a call, conflicts and delays.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Mutex,
    time::Duration,
};

use fastrand::Rng;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};

use super::store_proxy::{
    Call, cancelled_by_conflict, error, read_call, read_message, refusal, throttled,
};

/// How many of 1,000 calls have each fault.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// One of the [`Disturbance`]s.
    pub disturbed: u32,
    /// Each attempt of the transaction is disturbed, so that the caller does not know the outcome.
    pub cut_off: u32,
    /// A delay up to [`Rates::longest_delay`], on one of the sides.
    pub delayed: u32,
    /// An answer that comes after the service has ceased to wait for it.
    pub stalled: u32,
    /// A call that comes to DynamoDB after the service has ceased to wait for its answer, and
    /// may have made it again.
    pub late: u32,
    /// The longest delay.
    pub longest_delay: Duration,
    /// DynamoDB does not recognise a transaction by its token. (It always does.)
    pub forgets_tokens: bool,
}

impl Rates {
    /// No faults.
    pub const NONE: Self = Self {
        disturbed: 0,
        cut_off: 0,
        delayed: 0,
        stalled: 0,
        late: 0,
        longest_delay: Duration::ZERO,
        forgets_tokens: false,
    };
}

/// Longer than the 1 s that the service waits for an answer.
const STALL: Duration = Duration::from_millis(1_200);

/// What the service gets in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// 400 `ThrottlingException`. DynamoDB does not hear of the call.
    Throttled,
    /// 400 `ProvisionedThroughputExceededException`. DynamoDB does not hear of the call.
    OverCapacity,
    /// 400 with the reason `TransactionConflict`. DynamoDB does not hear of the call.
    Conflict,
    /// 500. DynamoDB does not hear of the call.
    FailedBefore,
    /// 500. DynamoDB has done the call.
    FailedAfter,
    /// The connection ends. DynamoDB has done the call.
    Lost,
}

const DISTURBANCES: [Disturbance; 6] = [
    Disturbance::Throttled,
    Disturbance::OverCapacity,
    Disturbance::Conflict,
    Disturbance::FailedBefore,
    Disturbance::FailedAfter,
    Disturbance::Lost,
];

/// The faults of one run.
#[derive(Debug)]
pub struct RandomFaults {
    state: Mutex<State>,
    /// Calls that are not over, whether or not the service still waits for them.
    running: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    rates: Rates,
    rng: Rng,
    /// The tokens of the transactions that are cut off.
    cut_off: HashSet<String>,
    met: BTreeMap<String, usize>,
}

/// The faults of one call.
#[derive(Debug, Default)]
struct Fate {
    before: Duration,
    disturbance: Option<Disturbance>,
    after: Duration,
    /// The token that takes the place of its own.
    token: Option<String>,
}

impl RandomFaults {
    /// The faults that `seed` chooses.
    pub fn new(seed: u64, rates: Rates) -> Self {
        let rng = Rng::with_seed(seed);
        Self {
            state: Mutex::new(State {
                rates,
                rng,
                cut_off: HashSet::new(),
                met: BTreeMap::new(),
            }),
            running: watch::Sender::new(0),
        }
    }

    /// Ends all faults, and waits until each call that was made is over.
    pub async fn end(&self) {
        self.state.lock().unwrap().rates = Rates::NONE;
        let mut running = self.running.subscribe();
        running.wait_for(|running| *running == 0).await.unwrap();
    }

    /// How many calls have had each fault so far.
    pub fn met(&self) -> BTreeMap<String, usize> {
        self.state.lock().unwrap().met.clone()
    }
}

impl State {
    fn happens(&mut self, rate: u32) -> bool {
        self.rng.u32(..1_000) < rate
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.rng.f64())
    }

    fn fate(&mut self, call: &Call) -> Fate {
        let mut fate = Fate::default();
        let rates = self.rates;
        if self.happens(rates.late) {
            fate.before = STALL;
            self.count("Late");
        } else if self.happens(rates.stalled) {
            fate.after = STALL;
            self.count("Stalled");
        } else if self.happens(rates.delayed) {
            let delay = self.up_to(rates.longest_delay);
            let is_before = self.rng.bool();
            *(if is_before {
                &mut fate.before
            } else {
                &mut fate.after
            }) = delay;
            self.count("Delayed");
        }
        let token = call.body["ClientRequestToken"].as_str();
        if self.is_cut_off(token) || self.happens(rates.disturbed) {
            let chosen = self.rng.choice(DISTURBANCES).unwrap();
            // A read is in conflict with nothing.
            let is_possible = token.is_some() || chosen != Disturbance::Conflict;
            let disturbance = if is_possible {
                chosen
            } else {
                Disturbance::Throttled
            };
            fate.disturbance = Some(disturbance);
            self.count(&format!("{disturbance:?}"));
        }
        fate.token = token.filter(|_| rates.forgets_tokens).map(|token| {
            let digits = token.chars().map(|_| self.rng.digit(16));
            digits.collect()
        });
        fate
    }

    fn is_cut_off(&mut self, token: Option<&str>) -> bool {
        let Some(token) = token else { return false };
        // A transaction is cut off from its first attempt on, or from a later one.
        if !self.cut_off.contains(token) && self.happens(self.rates.cut_off) {
            self.cut_off.insert(token.to_owned());
            self.count("CutOff");
        }
        self.rates.cut_off > 0 && self.cut_off.contains(token)
    }

    fn count(&mut self, what: &str) {
        *self.met.entry(what.to_owned()).or_default() += 1;
    }
}

/// Carries the calls of one connection, and disturbs them. A call goes on to DynamoDB whether or
/// not the service still waits for it.
pub async fn connection(
    client: TcpStream,
    mut upstream: TcpStream,
    upstream_name: &str,
    faults: &RandomFaults,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    while let Some((call, bytes)) = read_call(&mut from_client, upstream_name).await? {
        let _running = Running::of(faults);
        let fate = faults.state.lock().unwrap().fate(&call);
        delay(fate.before).await;
        if let Some(refusal) = fate.disturbance.and_then(|fault| refused(fault, &call)) {
            to_client.write_all(&refusal).await?;
            continue;
        }
        upstream.write_all(&renamed(bytes, &call, &fate)).await?;
        let Some((_, answer)) = read_message(&mut upstream).await? else {
            return Ok(());
        };
        delay(fate.after).await;
        match fate.disturbance {
            Some(Disturbance::Lost) => return Ok(()),
            Some(Disturbance::FailedAfter) => to_client.write_all(&failed()).await?,
            _ => to_client.write_all(&answer).await?,
        }
    }
    Ok(())
}

/// A call while it is not over.
struct Running<'a>(&'a RandomFaults);

impl<'a> Running<'a> {
    fn of(faults: &'a RandomFaults) -> Self {
        faults.running.send_modify(|running| *running += 1);
        Self(faults)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

async fn delay(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The answer of a DynamoDB that does not do the `call`.
fn refused(fault: Disturbance, call: &Call) -> Option<Vec<u8>> {
    match fault {
        Disturbance::Throttled => Some(throttled()),
        Disturbance::OverCapacity => {
            let message = "The level of configured provisioned throughput was exceeded.";
            let code = "ProvisionedThroughputExceededException";
            Some(refusal(code, json!({ "message": message })))
        }
        Disturbance::Conflict => {
            let actions = call.body["TransactItems"].as_array().map_or(1, Vec::len);
            Some(cancelled_by_conflict(actions))
        }
        Disturbance::FailedBefore => Some(failed()),
        Disturbance::FailedAfter | Disturbance::Lost => None,
    }
}

/// DynamoDB has failed.
fn failed() -> Vec<u8> {
    let message = "The request could not be processed because of an internal error.";
    let status = "500 Internal Server Error";
    error(status, "InternalServerError", json!({ "message": message }))
}

/// The call under the token of its fate, which is as long as its own.
fn renamed(bytes: Vec<u8>, call: &Call, fate: &Fate) -> Vec<u8> {
    let own = call.body["ClientRequestToken"].as_str();
    match (own, &fate.token) {
        (Some(own), Some(token)) => {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(own, token).into_bytes()
        }
        _ => bytes,
    }
}
