//! The Lambda binary, as processes under a Runtime API.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    log_file,
    runtime_api::{Outcome, RuntimeApi, Sandbox},
};

/// The environment of a process.
pub type Environment = Vec<(&'static str, String)>;

/// The processes of one function.
pub struct Sandboxes {
    runtime_api: RuntimeApi,
    environment: Environment,
    running: Mutex<Vec<Sandbox>>,
}

impl Sandboxes {
    /// Starts `count` processes.
    pub async fn start(count: usize, environment: Environment) -> Self {
        let runtime_api = RuntimeApi::start().await.unwrap();
        let running = (0..count)
            .map(|_| start_sandbox(&runtime_api, &environment))
            .collect();
        Self {
            runtime_api,
            environment,
            running: Mutex::new(running),
        }
    }

    /// The Runtime API that gives them their events.
    pub fn runtime_api(&self) -> &RuntimeApi {
        &self.runtime_api
    }

    /// Sends an event to one of them, which has `time` to answer.
    pub async fn invoke(&self, event: &Value, time: Duration) -> Outcome {
        self.runtime_api
            .invoke(event.to_string(), time)
            .await
            .unwrap()
    }

    /// Kills each process as `kill -9` does, and starts others.
    pub async fn kill_and_restart(&self) {
        let mut running = self.running.lock().await;
        for sandbox in running.iter_mut() {
            sandbox.kill().await.unwrap();
        }
        self.runtime_api.lose_running();
        for sandbox in running.iter_mut() {
            *sandbox = start_sandbox(&self.runtime_api, &self.environment);
        }
    }
}

fn start_sandbox(runtime_api: &RuntimeApi, environment: &Environment) -> Sandbox {
    let environment = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let (_, log) = log_file("lambda");
    runtime_api
        .start_sandbox(env!("CARGO_BIN_EXE_user-service-lambda"), environment, log)
        .unwrap()
}
