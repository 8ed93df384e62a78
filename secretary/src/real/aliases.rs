//! The names under which tools know a package that people call otherwise, and the programs that may be
//! asked for their version.
//!
//! The name of a package comes from outside. It decides what is looked for, never what is run: a program
//! is started only when it is in [`PROGRAMS`], because not every program on a search path does nothing
//! but print when it is given `--version`.

/// A package that is found by a program, and how that program tells its version.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The package.
    pub package: &'static str,
    /// The program.
    pub program: &'static str,
    /// The arguments that make it print its version and end; none means that it is not run.
    pub version_args: Option<&'static [&'static str]>,
}

const fn program(package: &'static str, program: &'static str) -> Program {
    Program { package, program, version_args: Some(&["--version"]) }
}

const fn asked(package: &'static str, program: &'static str, args: &'static [&'static str]) -> Program {
    Program { package, program, version_args: Some(args) }
}

const fn seen(package: &'static str, program: &'static str) -> Program {
    Program { package, program, version_args: None }
}

/// The programs that are known. A package may have several; the first one found counts.
pub const PROGRAMS: &[Program] = &[
    seen("amber", "pmemd"),
    program("apptainer", "apptainer"),
    program("awk", "gawk"),
    program("bash", "bash"),
    program("bcftools", "bcftools"),
    program("bedtools", "bedtools"),
    asked("blast", "blastn", &["-version"]),
    program("bowtie2", "bowtie2"),
    seen("bwa", "bwa"),
    program("cargo", "cargo"),
    program("clang", "clang"),
    program("cmake", "cmake"),
    program("conda", "conda"),
    program("cp2k", "cp2k.psmp"),
    asked("cuda", "nvcc", &["--version"]),
    program("curl", "curl"),
    program("duckdb", "duckdb"),
    asked("ffmpeg", "ffmpeg", &["-version"]),
    program("fftw", "fftw-wisdom"),
    program("gcc", "gcc"),
    program("gdal", "gdalinfo"),
    program("gdb", "gdb"),
    program("gfortran", "gfortran"),
    program("git", "git"),
    asked("go", "go", &["version"]),
    asked("gromacs", "gmx", &["--version"]),
    asked("gromacs", "gmx_mpi", &["--version"]),
    program("hdf5", "h5dump"),
    asked("java", "java", &["-version"]),
    program("julia", "julia"),
    seen("lammps", "lmp"),
    seen("lammps", "lmp_mpi"),
    program("llvm", "llvm-config"),
    program("make", "make"),
    program("mamba", "mamba"),
    seen("namd", "namd3"),
    seen("namd", "namd2"),
    program("minimap2", "minimap2"),
    program("netcdf", "nc-config"),
    program("ninja", "ninja"),
    program("nodejs", "node"),
    program("node", "node"),
    program("npm", "npm"),
    seen("nwchem", "nwchem"),
    program("octave", "octave"),
    seen("openfoam", "simpleFoam"),
    asked("openssl", "openssl", &["version"]),
    seen("orca", "orca"),
    program("perl", "perl"),
    program("php", "php"),
    program("python", "python3"),
    program("python", "python"),
    seen("quantum-espresso", "pw.x"),
    program("r", "R"),
    program("ruby", "ruby"),
    program("rust", "rustc"),
    program("rustc", "rustc"),
    program("samtools", "samtools"),
    program("snakemake", "snakemake"),
    program("spack", "spack"),
    program("sqlite", "sqlite3"),
    program("star", "STAR"),
    program("tar", "tar"),
    program("uv", "uv"),
    seen("vasp", "vasp_std"),
];

/// The programs to look for when a package is asked for: the known ones, else one of the same name,
/// which is looked for and not run.
pub fn programs_of(package: &str) -> Vec<(&str, Option<&'static [&'static str]>)> {
    let known: Vec<_> = PROGRAMS
        .iter()
        .filter(|entry| entry.package == package || entry.program == package)
        .map(|entry| (entry.program, entry.version_args))
        .collect();
    if known.is_empty() { vec![(package, None)] } else { known }
}

/// Packages whose name at the Python package index is another.
const PYTHON_NAMES: [(&str, &str); 7] = [
    ("pytorch", "torch"),
    ("sklearn", "scikit-learn"),
    ("opencv", "opencv-python"),
    ("pytorch-geometric", "torch-geometric"),
    ("huggingface-transformers", "transformers"),
    ("beautifulsoup", "beautifulsoup4"),
    ("yaml", "pyyaml"),
];

/// A package's name as the Python package index spells it: lower case, runs of `-`, `_` and `.` one `-`.
#[must_use]
pub fn python_name(package: &str) -> String {
    let mut name = String::with_capacity(package.len());
    for c in package.chars() {
        let c = if matches!(c, '-' | '_' | '.') { '-' } else { c.to_ascii_lowercase() };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    let other = PYTHON_NAMES.iter().find(|(known, _)| *known == name);
    other.map_or(name, |(_, other)| (*other).to_owned())
}

/// The first thing in a banner that looks like a version: digits with at least one dot between them.
#[must_use]
pub fn version_in(banner: &str) -> Option<String> {
    let bytes = banner.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit()
            && (at == 0 || !(bytes[at - 1].is_ascii_digit() || bytes[at - 1] == b'.'));
        if !starts {
            at += 1;
            continue;
        }
        let length = bytes[at..]
            .iter()
            .take(64)
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.' || **byte == b'_')
            .count();
        let word = banner[at..at + length].trim_end_matches(['.', '_']);
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let dotted = word.as_bytes().get(digits) == Some(&b'.')
            && word.as_bytes().get(digits + 1).is_some_and(u8::is_ascii_digit);
        if dotted {
            return Some(word.to_owned());
        }
        at += length.max(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_banners() {
        for (banner, version) in [
            ("Python 3.12.1\n", Some("3.12.1")),
            ("git version 2.39.2\n", Some("2.39.2")),
            ("gcc (Debian 12.2.0-14) 12.2.0", Some("12.2.0")),
            ("go version go1.22.1 linux/amd64", Some("1.22.1")),
            ("Copyright (c) 2005-2024\nrelease 12.4, V12.4.131", Some("12.4")),
            ("rustc 1.95.0-nightly (abc 2026-01-01)", Some("1.95.0")),
            (":-) GROMACS - gmx, 2023.1-Debian (-:", Some("2023.1")),
            ("mpirun.openmpi (OpenRTE) 4.1.4", Some("4.1.4")),
            ("v5.36.0rc1.", Some("5.36.0rc1")),
            ("no number here, not even 7", None),
            ("", None),
            ("é1.é2.3é", Some("2.3")),
        ] {
            assert_eq!(version_in(banner).as_deref(), version, "{banner}");
        }
    }

    #[test]
    fn python_names_are_normalised() {
        assert_eq!(python_name("My.Tool_-x"), "my-tool-x");
        assert_eq!(python_name("pytorch"), "torch");
    }

    #[test]
    fn an_unknown_package_is_looked_for_and_never_run() {
        assert_eq!(programs_of("launch-everything"), vec![("launch-everything", None)]);
    }
}
