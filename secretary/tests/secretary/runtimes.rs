use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::facts::Runtime;
use protocol::proposal::Verdict;
use secretary::provider::{Category, Provider};
use secretary::providers::Providers;
use secretary::real::containers::{Containers, parse_docker, parse_names, parse_podman, user_namespaces};
use secretary::real::host::{Host, Tree};
use secretary::real::mpi::{Mpi, parse_mpich, parse_ompi_info};
use secretary::rules::propose;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::mutation::mutated;
use crate::replay::{Programs, Recording, recording, says};
use crate::support::{Desk, call, clock, requirement, within};

fn container(host: &Host, name: &str) -> Containers {
    Containers::all(host).into_iter().find(|runtime| runtime.name() == name).unwrap()
}

async fn ask(provider: &dyn Provider, tool: &str) -> Value {
    provider.call(tool, &Map::new(), within(20.0)).await.unwrap().value
}

const PODMAN: [Recording; 2] = [
    says("--version", "tools/podman-4.3.1/version.txt", 0),
    says("images --format json", "tools/podman-4.3.1/images.json", 0),
];
const DOCKER: Recording = says("--version", "tools/docker-28.2.2/version.txt", 0);
const ASKED: &str = "version --format {{.Server.Version}}";
const SERVER: Recording = says(ASKED, "tools/documented/docker-server.txt", 0);
const NO_SERVER: Recording = says(ASKED, "tools/docker-28.2.2/server-not-running.txt", 1);
const DOCKER_IMAGES: Recording = says("images --format {{json .}}", "tools/documented/docker-images.txt", 0);

#[tokio::test]
async fn a_docker_without_a_daemon_is_here_and_of_no_use() {
    let programs = Programs::new();
    programs.replay("docker", &[DOCKER, NO_SERVER]);
    let host = programs.host("two-sockets");
    let info = ask(&container(&host, "docker"), "runtime_info").await;
    assert_eq!((&info["version"], &info["usable"]), (&json!("28.2.2"), &json!(false)));
    assert!(info["reason"].as_str().unwrap().contains("Cannot connect to the Docker daemon"), "{info}");
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.names(Category::Container), ["docker"]);
    let need = call(requirement(json!({"container": ["docker"]})));
    let found = providers.investigate(&need, &[], within(20.0)).await;
    assert_eq!(found.facts.containers, Some(Vec::new()));
    assert_eq!(propose(&need, &found.facts, Vec::new(), None).verdict, Verdict::Incompatible);
}

#[tokio::test]
async fn runtimes_with_their_images() {
    let programs = Programs::new();
    programs.replay("docker", &[DOCKER, SERVER, DOCKER_IMAGES]);
    programs.replay("podman", &PODMAN);
    programs.replay("ch-run", &[says("--version", "tools/charliecloud-0.31/version.txt", 0)]);
    programs.replay("ch-image", &[says("list", "tools/documented/ch-image-list.txt", 0)]);
    programs.replay("shifterimg", &[says("images", "tools/documented/shifterimg-images.txt", 0)]);
    let host = programs.host("two-sockets");
    let names = |images: Value| {
        let names = images["images"].as_array().unwrap().iter().map(|image| image["name"].clone());
        names.collect::<Vec<_>>()
    };
    let docker = container(&host, "docker");
    assert_eq!(ask(&docker, "runtime_info").await["usable"], true);
    // An image without a name cannot be asked for.
    assert_eq!(names(ask(&docker, "images").await), ["nvcr.io/nvidia/pytorch:24.04-py3"]);
    let podman = ask(&container(&host, "podman"), "images").await;
    assert_eq!(podman["images"][0], json!({"name": "localhost/tiny:1", "size_gib": 0.002}));
    assert_eq!(
        names(ask(&container(&host, "charliecloud"), "images").await),
        ["alpine:3.17", "debian:buster"]
    );
    assert_eq!(names(ask(&container(&host, "shifter"), "images").await), ["ubuntu:15.10", "ubuntu:14.04"]);
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let need = call(requirement(json!({"container": ["podman", "docker"]})));
    let found = providers.investigate(&need, &[], within(20.0)).await;
    // The recorded node does not tell about user namespaces, so nobody knows about Charliecloud, and the
    // list that meets the requirement without it stays.
    let runtime =
        |name: &str, version: &str| Runtime { name: name.to_owned(), version: Some(version.to_owned()) };
    assert_eq!(found.facts.containers, Some(vec![runtime("docker", "28.2.2"), runtime("podman", "4.3.1")]));
    let need = call(requirement(json!({"container": ["charliecloud"]})));
    let found = providers.investigate(&need, &[], within(20.0)).await;
    assert_eq!(propose(&need, &found.facts, Vec::new(), None).verdict, Verdict::Unknown);
}

#[tokio::test]
async fn a_runtime_of_hpc_sites_needs_namespaces_or_a_helper() {
    let programs = Programs::new();
    programs.replay("bin/apptainer", &[says("--version", "tools/apptainer-1.4.5/version.txt", 0)]);
    let tree = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = tree.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut host = programs.host("two-sockets");
    host.root = tree.path().to_owned();
    let directory = programs.directory().join("bin");
    host.path = secretary::program::SearchPath::parse(&directory.display().to_string());
    let apptainer = container(&host, "apptainer");
    let info = ask(&apptainer, "runtime_info").await;
    assert_eq!((&info["version"], &info["usable"]), (&json!("1.4.5"), &Value::Null));
    write("proc/sys/user/max_user_namespaces", "0\n");
    let info = ask(&apptainer, "runtime_info").await;
    assert_eq!((&info["usable"], &info["reason"]), (&json!(false), &json!("user.max_user_namespaces is 0")));
    write("proc/sys/user/max_user_namespaces", "95000\n");
    assert_eq!(ask(&apptainer, "runtime_info").await["usable"], true);
    let unprivileged = |tree: &mut Tree| user_namespaces(tree, false).0;
    let mut files = Tree::new(tree.path());
    assert_eq!(unprivileged(&mut files), Some(true));
    write("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
    assert_eq!(unprivileged(&mut files), None);
    write("proc/sys/kernel/unprivileged_userns_clone", "0\n");
    assert_eq!(unprivileged(&mut files), Some(false));
    assert_eq!(user_namespaces(&mut files, true).0, Some(true));
    // A helper without the rights of root is no help.
    write("proc/sys/user/max_user_namespaces", "0\n");
    let helper = programs.script("libexec/apptainer/bin/starter-suid", "exit 1");
    assert_eq!(ask(&apptainer, "runtime_info").await["usable"], false);
    if nix::unistd::geteuid().is_root() {
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(ask(&apptainer, "runtime_info").await["usable"], true);
    }
}

#[tokio::test]
async fn a_daemon_that_hangs_leaves_the_runtime_here_and_its_use_unknown() {
    let programs = Programs::new();
    programs.script(
        "docker",
        "case \"$1\" in --version) echo Docker version 28.2.2;; *) exec /bin/sleep 3600;; esac",
    );
    let host = programs.host("two-sockets");
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.metadata()["container"]["docker"]["version"], "28.2.2");
    let need = call(requirement(json!({"container": ["docker"]})));
    for _ in 0..2 {
        let asked = Instant::now();
        let found = providers.investigate(&need, &[], within(2.0)).await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(propose(&need, &found.facts, Vec::new(), None).verdict, Verdict::Unknown);
    }
}

fn mpi(host: &Host, name: &str) -> Mpi {
    Mpi::all(host).into_iter().find(|mpi| mpi.name() == name).unwrap()
}

#[tokio::test]
async fn two_implementations_side_by_side() {
    let programs = Programs::new();
    programs.replay("ompi_info", &[says("--parsable", "tools/openmpi-4.1.4/ompi_info_parsable.txt", 0)]);
    programs.replay("mpirun", &[says("--version", "tools/openmpi-4.1.4/mpirun_version.txt", 0)]);
    programs.replay("mpichversion", &[says("", "tools/mpich-4.0.2/mpichversion.txt", 0)]);
    let host = programs.host("two-sockets");
    let open = ask(&mpi(&host, "openmpi"), "mpi_info").await;
    assert_eq!((&open["version"], &open["build"]), (&json!("4.1.4"), &json!("Debian OpenMPI")));
    for fabric in ["ucx", "libfabric", "psm2", "verbs", "tcp", "shared-memory"] {
        assert!(open["fabrics"].as_array().unwrap().contains(&json!(fabric)), "{fabric} of {open}");
    }
    assert_eq!(open["launchers"], json!(["slurm", "rsh"]));
    let mpich = ask(&mpi(&host, "mpich"), "mpi_info").await;
    assert_eq!((&mpich["version"], &mpich["fabrics"]), (&json!("4.0.2"), &json!(["ucx"])));
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.names(Category::Parallel), ["openmpi", "mpich"]);
    let found = providers.investigate(&call(requirement(json!({"mpi": true}))), &[], within(20.0)).await;
    assert_eq!(found.facts.mpi.unwrap().len(), 2);
}

#[tokio::test]
async fn one_mpirun_belongs_to_one_implementation() {
    for (file, name, version) in [
        ("tools/openmpi-4.1.4/mpirun_openmpi_version.txt", "openmpi", "4.1.4"),
        ("tools/openmpi-4.1.4/mpirun_version.txt", "openmpi", "4.1.4"),
        ("tools/mpich-4.0.2/mpirun_mpich_version.txt", "mpich", "4.0.2"),
        ("tools/documented/spectrum-mpirun.txt", "spectrum-mpi", "10.3.1.2rtm0"),
    ] {
        let programs = Programs::new();
        let recordings = [Recording { args: "--version", file, exit: 0 }];
        programs.replay("mpirun", &recordings);
        let host = programs.host("two-sockets");
        for implementation in Mpi::all(&host) {
            let answer = implementation.call("mpi_info", &Map::new(), within(10.0)).await;
            assert_eq!(answer.is_ok(), implementation.name() == name, "{name}: {answer:?}");
        }
        assert_eq!(ask(&mpi(&host, name), "mpi_info").await["version"], version);
    }
    let programs = Programs::new();
    programs.replay("mpirun", &[says("--version", "tools/mpich-4.0.2/mpirun_mpich_version.txt", 0)]);
    let hydra = ask(&mpi(&programs.host("two-sockets"), "mpich"), "mpi_info").await;
    assert_eq!(hydra["build"], "ch4:ucx");
    assert!(hydra["launchers"].as_array().unwrap().contains(&json!("slurm")));
}

proptest! {
    #[test]
    fn broken_output_of_container_runtimes_is_refused_or_read(output in mutated(vec![
        recording("tools/podman-4.3.1/images.json"),
        recording("tools/documented/docker-images.txt"),
        recording("tools/documented/shifterimg-images.txt"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        let mut images = parse_podman(&output).unwrap_or_default();
        images.extend(parse_names(&output));
        for image in &images {
            prop_assert!(text.contains(&image.name) || text.contains('\\'), "{image:?}");
        }
        for image in parse_docker(&output).unwrap_or_default() {
            let (repository, tag) = image.name.rsplit_once(':').unwrap();
            let both = text.contains(repository) && text.contains(tag);
            prop_assert!(both || text.contains('\\'), "{image:?}");
        }
    }

    #[test]
    fn broken_output_of_mpi_is_read_for_what_it_holds(output in mutated(vec![
        recording("tools/openmpi-4.1.4/ompi_info_parsable.txt"),
        recording("tools/mpich-4.0.2/mpichversion.txt"),
        recording("tools/mpich-4.0.2/mpirun_mpich_version.txt"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for reading in [parse_ompi_info(&text), parse_mpich(&text)] {
            prop_assert!(reading.version.is_none_or(|version| text.contains(&version)));
            prop_assert!(reading.build.is_none_or(|build| text.contains(&build)));
            prop_assert!(reading.launchers.iter().all(|launcher| text.contains(launcher)));
        }
    }
}
