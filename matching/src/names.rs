//! When two names mean the same thing: spellings of packages, fabrics, file systems, runtimes and GPUs.

use protocol::facts::{FileSystem, Package};

/// Words in front of a GPU's model that do not tell one model from another.
const GPU_MAKERS: [&str; 9] =
    ["nvidia", "amd", "intel", "tesla", "geforce", "quadro", "instinct", "radeon", "gpu"];

/// A name in lower case without what separates its words: `omni-path`, `Omni_Path` and `omnipath` are
/// one name. A plus sign stays, because `c` and `c++` are two.
fn bare(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '+').map(|c| c.to_ascii_lowercase())
}

fn has_no_letters(name: &str) -> bool {
    bare(name).next().is_none()
}

fn words(name: &str) -> Vec<String> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// Whether two names differ at most in case and in what separates their words. A name without any
/// ASCII letter or digit equals only itself.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a == b || (!has_no_letters(a) && bare(a).eq(bare(b)))
}

/// Whether a name is one of several.
pub(crate) fn is_one_of(name: &str, names: &[String]) -> bool {
    names.iter().any(|other| same(name, other))
}

/// Whether every word of the wanted name is in the other, in any order, or the wanted name is a run of
/// its words: `infiniband` is in `infiniband-hdr`, `rtx4090` in `geforce-rtx-4090`.
fn is_within(wanted: &[String], had: &[String]) -> bool {
    if wanted.iter().all(|word| had.contains(word)) {
        return true;
    }
    let wanted = wanted.concat();
    (0..had.len()).any(|start| {
        // Compared from the front, so that a stranger's long text costs no more than the wanted name.
        let mut rest = wanted.as_str();
        for word in &had[start..] {
            match rest.strip_prefix(word.as_str()) {
                Some("") => return true,
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        false
    })
}

/// Whether a GPU is of the wanted model: `h100` is met by `h100` and by `nvidia-h100-80gb`.
pub(crate) fn is_gpu_model(wanted: &str, had: &str) -> bool {
    let wanted = words(wanted);
    let model: Vec<String> =
        wanted.iter().filter(|word| !GPU_MAKERS.contains(&word.as_str())).cloned().collect();
    is_within(if model.is_empty() { &wanted } else { &model }, &words(had))
}

/// Whether a network is of the wanted kind.
pub(crate) fn is_fabric(wanted: &str, had: &str) -> bool {
    same(wanted, had) || (!has_no_letters(wanted) && is_within(&words(wanted), &words(had)))
}

/// Whether a container runtime is the wanted one. Apptainer is Singularity under its newer name and
/// still answers to the older one.
pub(crate) fn is_runtime(wanted: &str, had: &str) -> bool {
    const RENAMED: [&str; 2] = ["singularity", "apptainer"];
    let renamed = |name: &str| RENAMED.iter().any(|other| same(name, other));
    same(wanted, had) || (renamed(wanted) && renamed(had))
}

/// Whether a file system is of the wanted kind. `scratch` is a purpose rather than a kind: any file
/// system with that word in its kind or path serves it.
pub(crate) fn is_file_system(wanted: &str, had: &FileSystem) -> bool {
    let wanted_words = words(wanted);
    same(wanted, &had.kind)
        || (!wanted_words.is_empty() && is_within(&wanted_words, &words(&had.kind)))
        || (wanted_words == ["scratch"] && words(&had.path).contains(&wanted_words[0]))
}

/// Whether an installed package is the wanted one. Spack puts `py-` in front of Python packages.
pub(crate) fn is_package(wanted: &str, had: &Package) -> bool {
    same(wanted, &had.name) || had.name.strip_prefix("py-").is_some_and(|name| same(wanted, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_models_match_by_their_words() {
        let table = [
            ("h100", "h100", true),
            ("h100", "nvidia-h100-80gb", true),
            ("H100", "NVIDIA H100 80GB HBM3", true),
            ("nvidia h100", "h100", true),
            ("a100", "NVIDIA A100-SXM4-40GB", true),
            ("rtx4090", "NVIDIA GeForce RTX 4090", true),
            ("rtx 4090", "rtx4090", true),
            ("a100-40gb", "NVIDIA A100-SXM4-40GB", true),
            ("nvidia", "nvidia-h100-80gb", true),
            ("mi300x", "amd-instinct-mi300x", true),
            ("h100", "gh200", false),
            ("h100", "h1000", false),
            ("a100", "nvidia-a10", false),
            ("a10", "nvidia-a100", false),
            ("a100-80gb", "NVIDIA A100-SXM4-40GB", false),
            ("h100", "", false),
        ];
        for (wanted, had, expected) in table {
            assert_eq!(is_gpu_model(wanted, had), expected, "{wanted} in {had}");
        }
    }

    #[test]
    fn other_names_match_by_spelling() {
        assert!(is_fabric("omni-path", "Omni_Path"));
        assert!(is_fabric("infiniband", "infiniband-hdr"));
        assert!(!is_fabric("infiniband", "ethernet"));
        assert!(!is_fabric("", "ethernet"));
        assert!(is_runtime("singularity", "apptainer") && is_runtime("apptainer", "singularity"));
        assert!(!is_runtime("docker", "podman"));
        let package = |name: &str| Package {
            name: name.into(),
            version: "1".into(),
            provider: "spack".into(),
            environment: None,
        };
        assert!(is_package("scikit-learn", &package("py-scikit-learn")));
        assert!(is_package("scikit_learn", &package("scikit-learn")));
        assert!(!is_package("gromacs", &package("gromacs-plumed")));
        assert!(!is_package("", &package("-")));
        assert!(!is_package("c", &package("c++")));
    }

    #[test]
    fn scratch_is_found_by_kind_or_path() {
        let file_system = |kind: &str, path: &str| FileSystem {
            kind: kind.into(),
            path: path.into(),
            total_gib: None,
            free_gib: None,
        };
        assert!(is_file_system("scratch", &file_system("local-scratch", "/tmp")));
        assert!(is_file_system("scratch", &file_system("lustre", "/scratch/project")));
        assert!(is_file_system("local-scratch", &file_system("local-scratch", "/tmp")));
        assert!(!is_file_system("scratch", &file_system("nfs", "/home")));
        assert!(!is_file_system("nfs", &file_system("lustre", "/nfs")));
    }
}
