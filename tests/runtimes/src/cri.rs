//! The calls of the CRI (v1) that a kubelet makes for a pod, with only the fields that the tests need.

mod files;
mod messages;

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use self::messages::{
    Capability, ContainerConfig, ContainerMetadata, ContainerRequest, ContainerStatus,
    ContainerStatusResponse, CreateContainerRequest, CreateContainerResponse, Empty, ExecSyncRequest,
    ExecSyncResponse, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount, NamespaceOption, NetworkConfig, PodRequest,
    PodSandboxConfig, PodSandboxMetadata, PodSandboxStatusResponse, PortMapping, RunPodSandboxRequest,
    RunPodSandboxResponse, RuntimeConfig, StatusRequest, StatusResponse, UpdateRuntimeConfigRequest,
};
use crate::IMAGE;

/// How long a call may take. The slowest is exec, whose own timeout is shorter.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection to a runtime. It does not survive a restart of the runtime.
#[derive(Debug)]
pub struct Cri {
    tokio: Runtime,
    channel: Channel,
}

/// The description of a pod.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    /// Its name, in the Kubernetes namespace `default`.
    pub name: String,
    /// The annotations of its metadata.
    pub annotations: Vec<(String, String)>,
    /// Published TCP ports: the host's port and the pod's.
    pub ports: Vec<(u16, u16)>,
    /// Whether it shares the node's network.
    pub host_network: bool,
}

/// A pod that the runtime has made.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The runtime's ID of it, which is also CNI's container ID.
    pub id: String,
    config: PodSandboxConfig,
}

/// The description of a container of a pod.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec<'a> {
    /// Its name; `main` if there is none.
    pub name: Option<&'a str>,
    /// Its image; the test image if there is none.
    pub image: Option<&'a str>,
    /// Its command.
    pub command: &'a [&'a str],
    /// Its environment.
    pub env: &'a [(&'a str, &'a str)],
    /// Bind mounts: the path on the host and the path in the container.
    pub mounts: &'a [(&'a str, &'a str)],
    /// The file for its output, in the pods' log folder.
    pub log: Option<&'a str>,
    /// If set: the user and group that it runs as, without capabilities, with `no_new_privs`, a read-only root file system
    /// and the runtime's default seccomp filter.
    pub confined_as: Option<i64>,
}

fn confined(user: i64) -> LinuxContainerConfig {
    let id = Some(Int64Value { value: user });
    let security_context = LinuxContainerSecurityContext {
        capabilities: Some(Capability { drop: vec!["ALL".to_owned()] }),
        run_as_user: id.clone(),
        run_as_group: id,
        readonly_rootfs: true,
        no_new_privs: true,
        seccomp: Some(Empty {}),
    };
    LinuxContainerConfig { security_context: Some(security_context) }
}

impl Cri {
    /// A client for the runtime at a socket. It connects at the first call.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = tokio.enter();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .timeout(PATIENCE)
            .connect_with_connector_lazy(connector);
        drop(guard);
        Self { tokio, channel }
    }

    /// The runtime's condition `NetworkReady`, with its message.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub fn network_status(&self) -> Result<(bool, String), Status> {
        let response: StatusResponse = self.call("Status", StatusRequest {})?;
        let conditions = response.status.unwrap().conditions;
        let network = conditions.into_iter().find(|condition| condition.kind == "NetworkReady").unwrap();
        Ok((network.status, network.message))
    }

    /// Sends the runtime the node's pod CIDRs, as a kubelet does once the node has them.
    pub fn set_pod_cidr(&self, pod_cidr: &str) {
        let network_config = NetworkConfig { pod_cidr: pod_cidr.to_owned() };
        let runtime_config = Some(RuntimeConfig { network_config: Some(network_config) });
        let _: Empty = self.must("UpdateRuntimeConfig", UpdateRuntimeConfigRequest { runtime_config });
    }

    /// Makes a pod (`RunPodSandbox`), which includes its network.
    ///
    /// # Errors
    /// The runtime's error, which contains the error of a plugin.
    pub fn run_pod(&self, spec: &PodSpec) -> Result<Pod, Status> {
        let mapping = |(host, pod): &(u16, u16)| PortMapping {
            container_port: i32::from(*pod),
            host_port: i32::from(*host),
            ..PortMapping::default()
        };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: spec.name.clone(),
                uid: format!("uid-of-{}", spec.name),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            // Without one, a pod in the node's network has the node's.
            hostname: if spec.host_network { String::new() } else { spec.name.clone() },
            log_directory: "/run/pods".to_owned(),
            port_mappings: spec.ports.iter().map(mapping).collect(),
            annotations: spec.annotations.iter().cloned().collect(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: "/pods".to_owned(),
                security_context: Some(security_context(spec.host_network)),
            }),
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let response: RunPodSandboxResponse = self.call("RunPodSandbox", request)?;
        Ok(Pod { id: response.pod_sandbox_id, config })
    }

    /// The pod's addresses, its primary address first.
    #[must_use]
    pub fn addresses(&self, pod: &Pod) -> Vec<String> {
        let response: PodSandboxStatusResponse = self.must("PodSandboxStatus", pod.request());
        let network = response.status.unwrap().network.unwrap();
        [network.ip].into_iter().chain(network.additional_ips.into_iter().map(|ip| ip.ip)).collect()
    }

    /// Starts a container in a pod, and returns its ID.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn run_container(&self, pod: &Pod, spec: &ContainerSpec<'_>) -> Result<String, Status> {
        let owned = |(first, second): &(&str, &str)| ((*first).to_owned(), (*second).to_owned());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: spec.name.unwrap_or("main").to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: spec.image.unwrap_or(IMAGE).to_owned() }),
            command: spec.command.iter().map(|&word| word.to_owned()).collect(),
            args: Vec::new(),
            envs: spec.env.iter().map(owned).map(|(key, value)| KeyValue { key, value }).collect(),
            mounts: spec
                .mounts
                .iter()
                .map(owned)
                .map(|(host_path, container_path)| Mount { container_path, host_path, readonly: false })
                .collect(),
            log_path: spec.log.unwrap_or_default().to_owned(),
            linux: spec.confined_as.map(confined),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let CreateContainerResponse { container_id } = self.call("CreateContainer", request)?;
        let _: Empty =
            self.call("StartContainer", ContainerRequest { container_id: container_id.clone() })?;
        Ok(container_id)
    }

    /// The exit code of a container that has ended.
    ///
    /// # Errors
    /// The container has not ended yet.
    pub fn exit_code(&self, container: &str) -> Result<i32, String> {
        let request = ContainerRequest { container_id: container.to_owned() };
        let response: ContainerStatusResponse = self.must("ContainerStatus", request);
        match response.status.unwrap() {
            ContainerStatus { state: 2, exit_code } => Ok(exit_code),
            status => Err(format!("{status:?}")),
        }
    }

    /// Runs a command in a container, and returns its standard output.
    ///
    /// # Errors
    /// The command failed: its output.
    pub fn exec(&self, container: &str, command: &[&str]) -> Result<String, String> {
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: 20,
        };
        let answer: ExecSyncResponse =
            self.call("ExecSync", request).map_err(|status| format!("exec {command:?}: {status}"))?;
        let out = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.exit_code == 0 {
            return Ok(out);
        }
        let code = answer.exit_code;
        Err(format!("{command:?} ended with {code}: {out}{}", String::from_utf8_lossy(&answer.stderr)))
    }

    /// Stops a pod. Stopping it again has no effect.
    pub fn stop(&self, pod: &Pod) {
        let _: Empty = self.must("StopPodSandbox", pod.request());
    }

    /// Removes a pod.
    pub fn remove(&self, pod: &Pod) {
        let _: Empty = self.must("RemovePodSandbox", pod.request());
    }

    fn must<A: Message + Default + 'static>(
        &self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> A {
        self.call(method, request).unwrap_or_else(|status| panic!("{method}: {status}"))
    }

    fn call<A: Message + Default + 'static>(
        &self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> Result<A, Status> {
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}")).unwrap();
        self.tokio.block_on(async {
            let mut client = Grpc::new(self.channel.clone());
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = tonic_prost::ProstCodec::default();
            Ok(client.unary(tonic::Request::new(request), path, codec).await?.into_inner())
        })
    }
}

fn security_context(host_network: bool) -> LinuxSandboxSecurityContext {
    let network = if host_network { 2 } else { 0 };
    LinuxSandboxSecurityContext { namespace_options: Some(NamespaceOption { network }) }
}

impl Pod {
    fn request(&self) -> PodRequest {
        PodRequest { pod_sandbox_id: self.id.clone() }
    }
}
