//! The configuration of the function that checks a new version before a deployment.

use super::{Endpoint, Faults, REGION, Setting, reader::Reader};

const TARGET: Setting = Setting::new(
    "CANARY_TARGET",
    "arn:aws:lambda:us-east-1:123456789012:function:users:7",
);
const SERVING: Setting = Setting::new(
    "CANARY_SERVING",
    "arn:aws:lambda:us-east-1:123456789012:function:users:live",
);
const CANARY: Setting = Setting::new("CANARY", "skip");
const LIVES: Setting = Setting::new("CANARY_LIVES", "3");

/// How many lives the canary tries by default.
const DEFAULT_LIVES: u8 = 3;

/// The configuration of the canary.
#[derive(Clone, Debug)]
pub struct CanarySettings {
    /// `CANARY_TARGET`: the ARN of the version that is checked.
    pub target: String,
    /// `CANARY_SERVING`: the ARN of the alias of the version that serves. It erases the user of the canary
    /// if the version that is checked cannot.
    pub serving: String,
    /// `CANARY`: whether the version is checked, or accepted without a check (`skip`).
    pub runs: bool,
    /// `CANARY_LIVES`: how many users' lives may be tried until one succeeds, from 1 to 9.
    pub lives: u8,
    /// `AWS_REGION`.
    pub region: String,
    /// The endpoint of Lambda. `None` means the endpoint of the region.
    pub lambda: Option<Endpoint>,
    /// The endpoint of CodeDeploy. `None` means the endpoint of the region.
    pub codedeploy: Option<Endpoint>,
}

impl CanarySettings {
    /// Reads the configuration from the environment. `None` if there is no `CANARY_TARGET`: then the
    /// process is the service.
    ///
    /// # Errors
    /// All faults of the configuration.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Result<Self, Faults>> {
        let mut reader = Reader::new(variable);
        let target = reader.get(TARGET)?;
        let runs = match reader.get(CANARY).as_deref() {
            None | Some("run") => Some(true),
            Some("skip") => Some(false),
            Some(other) => {
                reader.fault(CANARY, format_args!("must be run or skip, not {other:?}"));
                None
            }
        };
        let lives = match reader.get(LIVES) {
            None => Some(DEFAULT_LIVES),
            Some(lives) => reader.parsed(LIVES, &lives, |lives| {
                let number = lives.parse().ok().filter(|lives| (1..=9).contains(lives));
                number.ok_or_else(|| format!("must be a number from 1 to 9, not {lives:?}"))
            }),
        };
        let serving = reader.required(SERVING, "It is the alias of the version that serves");
        let region = reader.required(REGION, "Lambda sets it");
        let lambda = Endpoint::of("AWS_ENDPOINT_URL_LAMBDA", &reader.variable);
        let codedeploy = Endpoint::of("AWS_ENDPOINT_URL_CODEDEPLOY", &reader.variable);
        let settings = || {
            Some(Self {
                target,
                serving: serving?,
                runs: runs?,
                lives: lives?,
                region: region?,
                lambda,
                codedeploy,
            })
        };
        let settings = settings();
        Some(reader.finish(settings))
    }
}
