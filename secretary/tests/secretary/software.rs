use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::facts::Package;
use protocol::proposal::Verdict;
use secretary::provider::{Category, Probe, Provider, ProviderError};
use secretary::providers::Providers;
use secretary::real::conda::{self, CondaPackages};
use secretary::real::host::Host;
use secretary::real::modules::{self, Modules};
use secretary::real::packages::Installed;
use secretary::real::spack::{self, SpackPackages};
use secretary::rules::propose;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::mutation::mutated;
use crate::replay::{Programs, Recording, recording, says};
use crate::support::{Desk, call, clock, requirement, within};

async fn ask(provider: &dyn Provider, tool: &str, args: Value) -> Result<Value, ProviderError> {
    provider.call(tool, args.as_object().unwrap(), within(20.0)).await.map(|answer| answer.value)
}

async fn versions(provider: &dyn Provider, name: &str) -> Vec<String> {
    let found = ask(provider, "find_package", json!({"name": name})).await.unwrap();
    let versions = found.as_array().unwrap().iter().map(|package| package["version"].as_str().unwrap());
    versions.map(str::to_owned).collect()
}

const SPACK_NEW: [Recording; 3] = [
    says("--version", "tools/spack-1.1.0/version.txt", 0),
    says("find --json", "tools/spack-1.1.0/find.json", 0),
    says("compiler list", "tools/spack-1.1.0/compiler-list.txt", 0),
];
const SPACK_OLD: [Recording; 3] = [
    says("--version", "tools/spack-0.22.2/version.txt", 0),
    says("find --json", "tools/spack-0.22.2/find.json", 0),
    says("compiler list", "tools/spack-0.22.2/compiler-list.txt", 0),
];

#[tokio::test]
async fn spack_old_and_new() {
    for (recordings, version, gromacs, compilers) in [
        (SPACK_NEW, "1.1.0", "2024.6", json!(["gcc@12.2.0", "llvm@14.0.6"])),
        (SPACK_OLD, "0.22.2", "2024.1", json!(["clang@14.0.6", "gcc@12.2.0"])),
    ] {
        let programs = Programs::new();
        programs.replay("spack", &recordings);
        let spack = SpackPackages::new(programs.host("two-sockets"));
        assert!(spack.probe(&Probe { deadline: within(10.0) }).await.unwrap());
        assert_eq!(spack.metadata(within(10.0)).await.unwrap()["version"], version);
        let builds = ask(&spack, "find_package", json!({"name": "gromacs"})).await.unwrap();
        let shown: Vec<_> = builds
            .as_array()
            .unwrap()
            .iter()
            .map(|build| (build["version"].as_str().unwrap(), &build["variants"]["cuda"], &build["compiler"]))
            .collect();
        let gcc = json!("gcc@12.2.0");
        assert_eq!(shown, [(gromacs, &json!(false), &gcc), (gromacs, &json!(true), &gcc)]);
        assert_eq!(builds[1]["variants"]["cuda_arch"], json!(["90"]));
        assert_eq!(builds[0]["target"], "x86_64_v4");
        assert_eq!(versions(&spack, "zlib").await, ["1.2.13", "1.3.1"]);
        assert_eq!(versions(&spack, "numpy").await.len(), 1);
        assert!(versions(&spack, "cp2k").await.is_empty());
        assert_eq!(ask(&spack, "compilers", json!({})).await.unwrap(), compilers);
        let listed = ask(&spack, "list_packages", json!({"prefix": "py-"})).await.unwrap();
        assert_eq!(listed["total"].as_u64().unwrap() as usize, listed["packages"].as_array().unwrap().len());
        assert!(listed["packages"][0].get("variants").is_none());
    }
}

#[tokio::test]
async fn spack_is_found_by_its_root_and_may_be_empty() {
    let programs = Programs::new();
    let root = programs.directory().join("site");
    programs.replay("site/bin/spack", &[says("find --json", "tools/spack-1.1.0/find-nomatch.json", 1)]);
    let mut host = programs.host("two-sockets");
    assert!(!SpackPackages::new(host.clone()).probe(&Probe { deadline: within(10.0) }).await.unwrap());
    host.variables.insert("SPACK_ROOT", root.display().to_string());
    let spack = SpackPackages::new(host);
    assert!(spack.probe(&Probe { deadline: within(10.0) }).await.unwrap());
    assert!(versions(&spack, "zlib").await.is_empty());
    // What it was not recorded with is a failure that is told.
    let failed = ask(&spack, "compilers", json!({})).await.unwrap_err().in_full();
    assert!(failed.contains("no recording of: compiler list"), "{failed}");
}

fn lmod(programs: &Programs) -> Host {
    let command = programs.replay(
        "lmod",
        &[
            says("bash --version", "tools/lmod-8.6.19/version.txt", 0),
            says("bash -t spider", "tools/lmod-8.6.19/spider-t.txt", 0),
            says("bash spider gromacs/2023.4", "tools/lmod-8.6.19/spider-gromacs-version.txt", 0),
            says("bash spider gcc/12.2.0", "tools/lmod-8.6.19/spider-gcc-version.txt", 0),
            says("bash spider numpy/1.26.4", "tools/lmod-8.6.19/spider-extension.txt", 0),
            says("bash spider cuda/12.4", "tools/lmod-8.6.19/spider-unknown.txt", 1),
        ],
    );
    let mut host = programs.host("two-sockets");
    host.path = secretary::program::SearchPath::parse("");
    host.variables.insert("LMOD_CMD", command.display().to_string());
    host
}

#[tokio::test]
async fn lmod_knows_what_is_hidden_and_how_to_load_it() {
    let programs = Programs::new();
    let modules = Modules::new(lmod(&programs));
    assert!(modules.probe(&Probe { deadline: within(10.0) }).await.unwrap());
    let metadata = modules.metadata(within(10.0)).await.unwrap();
    assert_eq!(metadata, json!({"system": "lmod", "version": "8.6.19"}));
    assert_eq!(versions(&modules, "GROMACS").await, ["2023.4", "2024.1-plumed"]);
    assert_eq!(versions(&modules, "numpy").await, ["1.26.4"]);
    assert!(versions(&modules, "lammps").await.is_empty());
    let load = |module: &str| json!({"module": module});
    let hidden = ask(&modules, "how_to_load", load("gromacs/2023.4")).await.unwrap();
    assert_eq!(hidden["after"], json!([["gcc/12.2.0", "openmpi/5.0.3"]]));
    assert_eq!(hidden["directly"], false);
    assert_eq!(ask(&modules, "how_to_load", load("gcc/12.2.0")).await.unwrap()["directly"], true);
    let extension = ask(&modules, "how_to_load", load("numpy/1.26.4")).await.unwrap();
    assert_eq!(extension["after"], json!([["python/3.11.7"]]));
    assert!(ask(&modules, "how_to_load", load("cuda/12.4")).await.is_err());
    // What is on no list never becomes an argument.
    let unknown = ask(&modules, "how_to_load", load("--version")).await.unwrap();
    assert_eq!(unknown["known"], false);
}

#[tokio::test]
async fn environment_modules_without_their_decorations() {
    let programs = Programs::new();
    let command = programs.replay(
        "modulecmd.tcl",
        &[
            says("bash --version", "tools/environment-modules-5.2.0/version.txt", 0),
            says("bash avail -t", "tools/environment-modules-5.2.0/avail-t.txt", 0),
        ],
    );
    let mut host = programs.host("two-sockets");
    host.variables.insert("MODULES_CMD", command.display().to_string());
    let modules = Modules::new(host);
    let metadata = modules.metadata(within(10.0)).await.unwrap();
    assert_eq!(metadata, json!({"system": "environment-modules", "version": "5.2.0"}));
    assert_eq!(versions(&modules, "gcc").await, ["12.2.0", "13.1.0"]);
    assert_eq!(versions(&modules, "gromacs").await, ["2023.4", "2024.1"]);
    assert_eq!(versions(&modules, "foss").await, ["2023a"]);
    // Another name of a module is not a package.
    assert!(versions(&modules, "gmx").await.is_empty());
}

#[tokio::test]
async fn modules_that_fail_with_exit_code_0_are_unknown() {
    let programs = Programs::new();
    let command = programs.replay(
        "modulecmd.tcl",
        &[says("bash avail -t", "tools/environment-modules-5.2.0/no-modulepath.txt", 0)],
    );
    let mut host = programs.host("two-sockets");
    host.variables.insert("MODULES_CMD", command.display().to_string());
    let failed = ask(&Modules::new(host), "find_package", json!({"name": "gcc"})).await.unwrap_err();
    assert!(failed.in_full().contains("No module path defined"), "{}", failed.in_full());
}

#[tokio::test]
async fn a_worker_without_a_modulepath_reads_it_where_the_system_has_it() {
    let programs = Programs::new();
    let command = programs.script("lmod", "echo \"x/$MODULEPATH\" | /usr/bin/tr ':/' '__' >&2");
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("etc/lmod")).unwrap();
    std::fs::write(tree.path().join("etc/lmod/modulespath"), "# list\n/apps/one\n/apps/two\n").unwrap();
    let mut host = programs.host("two-sockets");
    host.root = tree.path().to_owned();
    host.variables.insert("LMOD_CMD", command.display().to_string());
    let listed = ask(&Modules::new(host), "list_packages", json!({})).await.unwrap();
    assert_eq!(listed["packages"][0]["name"], "x__apps_one__apps_two");
}

#[test]
fn a_list_that_is_sent_through_the_shell_and_one_of_tcl_modules() {
    let tcl = recording("tools/lmod-8.6.19/tcl-files-under-lmod-avail-t.txt.stderr");
    let listed = modules::parse(&String::from_utf8_lossy(&tcl));
    assert!(listed.contains(&Installed::plain("toolchain/foss", Some("2023a".to_owned()))));
    assert!(listed.iter().all(|module| module.version.as_deref() != Some("latest")));
}

#[tokio::test]
async fn lists_that_sites_send_through_the_shell_are_read_too() {
    let programs = Programs::new();
    let command =
        programs.replay("lmod", &[says("bash -t spider", "tools/lmod-8.6.19/avail-t-redirect.txt", 0)]);
    let mut host = programs.host("two-sockets");
    host.variables.insert("LMOD_CMD", command.display().to_string());
    assert_eq!(versions(&Modules::new(host), "cuda").await, ["11.8", "12.4"]);
}

const CONDA: [Recording; 6] = [
    says("--version", "tools/conda-26.7.1/version.txt", 0),
    says("env list --json", "tools/conda-26.7.1/env-list.json", 0),
    says("list -p /srv/site/condabase --json", "tools/conda-26.7.1/list-base.json", 0),
    says("list -p /srv/site/condabase/envs/empty --json", "tools/conda-26.7.1/list-empty.json", 0),
    says("list -p /srv/site/condabase/envs/sci --json", "tools/conda-26.7.1/list-sci.json", 0),
    says("list -p /srv/site/envs/by-path --json", "tools/conda-26.7.1/list-by-path.json", 0),
];
const OLD: Recording =
    says("list -p /srv/site/condabase/envs/old --json", "tools/conda-26.7.1/list-old.json", 0);
const OLD_GONE: Recording =
    says("list -p /srv/site/condabase/envs/old --json", "tools/conda-26.7.1/list-unknown-prefix.json", 1);

#[tokio::test]
async fn conda_lists_every_environment() {
    let programs = Programs::new();
    programs.replay("conda", &[&CONDA[..], &[OLD]].concat());
    let conda = CondaPackages::new(programs.host("two-sockets"));
    assert_eq!(conda.metadata(within(10.0)).await.unwrap()["version"], "26.7.1");
    let numpy = ask(&conda, "find_package", json!({"name": "numpy"})).await.unwrap();
    let sci = numpy.as_array().unwrap().iter().find(|found| found["environment"] == "sci").unwrap();
    assert_eq!((&sci["version"], &sci["channel"]), (&json!("1.26.4"), &json!("channel")));
    let yaml = ask(&conda, "find_package", json!({"name": "PyYAML"})).await.unwrap();
    assert_eq!(yaml[0]["channel"], "pypi");
    let environments = ask(&conda, "environments", json!({})).await.unwrap();
    let names: Vec<_> =
        environments.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["/srv/site/condabase", "empty", "old", "sci", "by-path"]);
}

#[tokio::test]
async fn an_environment_that_cannot_be_listed_leaves_what_is_absent_unknown() {
    let programs = Programs::new();
    programs.replay("conda", &[&CONDA[..], &[OLD_GONE]].concat());
    let providers = Providers::real(&programs.host("two-sockets"), Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.names(Category::Software), ["command", "conda"]);
    for (name, verdict) in [("hdf5", Verdict::Ready), ("lammps", Verdict::Unknown)] {
        let call = call(requirement(json!({"software": [{"name": name}]})));
        let found = providers.investigate(&call, &[], within(30.0)).await;
        let problem = found.facts.provenance["conda"].problem.as_ref().unwrap();
        assert!(problem.contains("envs/old") && problem.contains("Not a conda environment"), "{problem}");
        assert_eq!(propose(&call, &found.facts, Vec::new(), None).verdict, verdict, "{name}");
    }
}

#[tokio::test]
async fn other_members_of_the_family() {
    let programs = Programs::new();
    programs.replay(
        "micromamba",
        &[
            says("--version", "tools/micromamba-1.5.12/version.txt", 0),
            says("env list --json", "tools/micromamba-1.5.12/env-list.json", 0),
            says("list -p /srv/site/mamba/envs/sci --json", "tools/micromamba-1.5.12/list-sci.json", 0),
            says("list -p /srv/site/mamba --json", "tools/micromamba-1.5.12/list-unknown-prefix.json", 1),
            says("list -p *", "tools/micromamba-1.5.12/list-empty.json", 0),
        ],
    );
    let conda = CondaPackages::new(programs.host("two-sockets"));
    assert_eq!(conda.metadata(within(10.0)).await.unwrap()["version"], "1.5.12");
    assert_eq!(versions(&conda, "openmpi").await, ["5.0.7"]);
    let args = Map::from_iter([("name".to_owned(), json!("openmpi"))]);
    let problems = conda.call("find_package", &args, within(10.0)).await.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].starts_with("/srv/site/mamba: conda failed"), "{problems:?}");
    let old = conda::parse_environments(&recording("tools/conda-24.11.3/env-list.json")).unwrap();
    assert_eq!(old.len(), 5);
    let packages = conda::parse(&recording("tools/conda-24.11.3/list-sci.json"), "sci").unwrap();
    assert!(packages.iter().any(|package| package.name == "fftw"));
}

/// Everything at once, as on a login node: each provider adds what it has, and a requirement is met by one.
#[tokio::test]
async fn a_site_with_everything() {
    let programs = Programs::new();
    programs.replay("spack", &SPACK_NEW);
    programs.replay("conda", &[&CONDA[..], &[OLD]].concat());
    let command = lmod(&programs).variables["LMOD_CMD"].clone();
    let mut host = programs.host("two-sockets");
    host.variables.insert("LMOD_CMD", command);
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.names(Category::Software), ["command", "spack", "modules", "conda"]);
    let need = requirement(json!({"software": [{"name": "gromacs", "constraint": ">=2024.5"}]}));
    let call = call(need);
    let found = providers.investigate(&call, &[], within(30.0)).await;
    let package = |version: &str, provider: &str| Package {
        name: "gromacs".to_owned(),
        version: version.to_owned(),
        provider: provider.to_owned(),
        environment: None,
    };
    assert_eq!(
        found.facts.software.as_ref().unwrap(),
        // Two builds of one version are one package to a requirement.
        &[package("2024.6", "spack"), package("2023.4", "modules"), package("2024.1-plumed", "modules")]
    );
    assert_eq!(found.facts.provenance["modules"].source, "module -t spider");
    assert_eq!(propose(&call, &found.facts, Vec::new(), None).verdict, Verdict::Ready);
}

#[tokio::test]
async fn a_hanging_spack_costs_its_own_time_only() {
    let programs = Programs::new();
    programs.script("spack", "exec /bin/sleep 3600");
    programs.replay("conda", &[&CONDA[..], &[OLD]].concat());
    // That its version is not told in time does not make it absent.
    let providers = Providers::real(&programs.host("two-sockets"), Some(Arc::new(Desk)), clock()).await;
    assert!(providers.metadata()["software"]["spack"]["version"].is_null());
    let call = call(requirement(json!({"software": [{"name": "fftw"}]})));
    for _ in 0..3 {
        let asked = Instant::now();
        let found = providers.investigate(&call, &[], within(2.0)).await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert!(found.facts.provenance["spack"].problem.as_ref().unwrap().contains("in time"));
        assert!(found.facts.software.unwrap().iter().any(|package| package.provider == "conda"));
    }
}

/// Every word of a package comes from the text; escapes of JSON may spell it otherwise.
fn is_from(text: &str, package: &Installed) -> bool {
    let known = |word: &str| text.contains(word) || text.contains('\\');
    known(&package.name) && package.version.as_deref().is_none_or(known)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn broken_output_of_spack_is_refused_or_read(output in mutated(vec![
        recording("tools/spack-1.1.0/find.json"),
        recording("tools/spack-0.22.2/find.json"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for package in spack::parse(&output).unwrap_or_default() {
            prop_assert!(is_from(&text, &package), "{package:?}");
        }
    }

    #[test]
    fn broken_lists_of_compilers_name_only_what_they_hold(output in mutated(vec![
        recording("tools/spack-1.1.0/compiler-list.txt"),
        recording("tools/spack-0.22.2/compiler-list.txt"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for compiler in spack::parse_compilers(&text) {
            prop_assert!(text.contains(&compiler) && compiler.contains('@'), "{compiler}");
        }
    }

    #[test]
    fn broken_output_of_conda_is_refused_or_read(output in mutated(vec![
        recording("tools/conda-26.7.1/list-sci.json"),
        recording("tools/conda-24.11.3/list-sci.json"),
        recording("tools/micromamba-1.5.12/list-sci.json"),
        recording("tools/conda-26.7.1/env-list.json"),
        recording("tools/conda-26.7.1/list-unknown-prefix.json"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for package in conda::parse(&output, "env").unwrap_or_default() {
            prop_assert!(is_from(&text, &package), "{package:?}");
        }
        for directory in conda::parse_environments(&output).unwrap_or_default() {
            prop_assert!(text.contains(&directory) || text.contains('\\'), "{directory}");
        }
    }

    #[test]
    fn broken_lists_of_modules_name_only_what_they_hold(output in mutated(vec![
        recording("tools/lmod-8.6.19/spider-t.txt.stderr"),
        recording("tools/lmod-8.6.19/tcl-files-under-lmod-avail-t.txt.stderr"),
        recording("tools/environment-modules-5.2.0/avail-t.txt.stderr"),
        recording("tools/lmod-8.6.19/spider-gromacs-version.txt.stderr"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for module in modules::parse(&text) {
            let whole = match &module.version {
                Some(version) => format!("{}/{version}", module.name),
                None => module.name.clone(),
            };
            prop_assert!(text.contains(&whole), "{module:?}");
        }
        for alternative in modules::parse_spider(&text).after {
            prop_assert!(alternative.iter().all(|module| text.contains(module)), "{alternative:?}");
        }
    }
}
