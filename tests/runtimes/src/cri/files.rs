//! The calls of crictl, which takes descriptions of pods and containers from files.

use serde::de::DeserializeOwned;

use super::Cri;
use super::messages::{
    ContainerConfig, ContainerRequest, CreateContainerRequest, CreateContainerResponse, Empty, PodRequest,
    PodSandboxConfig, RunPodSandboxRequest, RunPodSandboxResponse,
};

/// A description in YAML or JSON. A key that the tests' client would not pass on is an error.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
}

impl Cri {
    /// Makes a pod from its description: its ID.
    ///
    /// # Errors
    /// The description is not one, or the runtime's error.
    pub fn run_pod_file(&self, pod: &str) -> Result<String, String> {
        let config: PodSandboxConfig = read(pod)?;
        let response: RunPodSandboxResponse =
            self.call("RunPodSandbox", RunPodSandboxRequest { config: Some(config) }).map_err(told)?;
        Ok(response.pod_sandbox_id)
    }

    /// Makes a container in a pod, from the descriptions of both: its ID.
    ///
    /// # Errors
    /// As for [`Cri::run_pod_file`].
    pub fn create_container_file(&self, pod_id: &str, container: &str, pod: &str) -> Result<String, String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod_id.to_owned(),
            config: Some(read::<ContainerConfig>(container)?),
            sandbox_config: Some(read::<PodSandboxConfig>(pod)?),
        };
        let response: CreateContainerResponse = self.call("CreateContainer", request).map_err(told)?;
        Ok(response.container_id)
    }

    /// Starts a container by its ID.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn start_container(&self, id: &str) -> Result<(), String> {
        let request = ContainerRequest { container_id: id.to_owned() };
        self.call::<Empty>("StartContainer", request).map(|_| ()).map_err(told)
    }

    /// Stops a pod by its ID.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn stop_pod(&self, id: &str) -> Result<(), String> {
        let request = PodRequest { pod_sandbox_id: id.to_owned() };
        self.call::<Empty>("StopPodSandbox", request).map(|_| ()).map_err(told)
    }

    /// Removes a pod by its ID.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn remove_pod(&self, id: &str) -> Result<(), String> {
        let request = PodRequest { pod_sandbox_id: id.to_owned() };
        self.call::<Empty>("RemovePodSandbox", request).map(|_| ()).map_err(told)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn told(status: tonic::Status) -> String {
    status.to_string()
}
