//! One process of the Lambda binary, with a log of its own, beside the service of a test.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    Service, log_file,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
};

/// A process of the Lambda binary that uses the tables of a service.
pub struct Function {
    runtime_api: RuntimeApi,
    process: tokio::sync::Mutex<Sandbox>,
    log: PathBuf,
}

impl Function {
    /// Starts it. `more` is added to its environment.
    pub async fn start(service: &Service, more: &[(&str, &str)]) -> Self {
        let (log, file) = log_file("lambda");
        let runtime_api = RuntimeApi::start().await.unwrap();
        let endpoint = service.store().endpoint_url();
        let mut environment = service.table_variables().to_vec();
        environment.extend([
            ("AUTH_MODE", "IAM"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
        ]);
        environment.extend(more);
        let process = runtime_api
            .start_sandbox(env!("CARGO_BIN_EXE_user-service-lambda"), environment, file)
            .unwrap();
        Self {
            runtime_api,
            process: tokio::sync::Mutex::new(process),
            log,
        }
    }

    /// The outcome of an event. `None` if the process has ended.
    pub async fn invoke(&self, event: String) -> Option<Outcome> {
        let time = Duration::from_secs(30);
        let ended = async { self.process.lock().await.ended().await };
        tokio::select! {
            outcome = self.runtime_api.invoke(event, time) => Some(outcome.unwrap()),
            Ok(_) = ended => None,
        }
    }

    /// The status of the answer to an event.
    pub async fn status(&self, event: &Value) -> u64 {
        match self.invoke(event.to_string()).await.unwrap() {
            Outcome::Response(response) => response["statusCode"].as_u64().unwrap(),
            error @ Outcome::Error(_) => panic!("{error:?}"),
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}
