//! The shipped names: workload managers, container runtimes, fabrics, file systems, kinds of site,
//! GPU models, and software.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::reading::Reading;

/// What a shipped name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// A workload manager.
    Manager,
    /// A container runtime.
    Runtime,
    /// A fabric.
    Fabric,
    /// A file system.
    FileSystem,
    /// A kind of site.
    Site,
}

/// A name: how people write it, what it names, its canonical form.
type Name = (&'static str, Category, &'static str);

/// The kind of a file system that is called just "storage" or "disk": any kind will do.
pub const ANY_FILE_SYSTEM: &str = "";

const NAMES: &[Name] = &[
    ("slurm", Category::Manager, "slurm"),
    ("flux", Category::Manager, "flux"),
    ("flux-framework", Category::Manager, "flux"),
    ("kubernetes", Category::Manager, "kubernetes"),
    ("k8s", Category::Manager, "kubernetes"),
    ("k8", Category::Manager, "kubernetes"),
    ("kube", Category::Manager, "kubernetes"),
    ("pbs", Category::Manager, "pbs"),
    ("pbs pro", Category::Manager, "pbs"),
    ("pbs professional", Category::Manager, "pbs"),
    ("pbspro", Category::Manager, "pbs"),
    ("openpbs", Category::Manager, "pbs"),
    ("torque", Category::Manager, "torque"),
    ("moab", Category::Manager, "moab"),
    ("cobalt", Category::Manager, "cobalt"),
    ("oar", Category::Manager, "oar"),
    ("htcondor", Category::Manager, "htcondor"),
    ("ht condor", Category::Manager, "htcondor"),
    ("condor", Category::Manager, "htcondor"),
    ("grid engine", Category::Manager, "grid-engine"),
    ("grid-engine", Category::Manager, "grid-engine"),
    ("gridengine", Category::Manager, "grid-engine"),
    ("sun grid engine", Category::Manager, "grid-engine"),
    ("univa grid engine", Category::Manager, "grid-engine"),
    ("sge", Category::Manager, "grid-engine"),
    ("uge", Category::Manager, "grid-engine"),
    ("lsf", Category::Manager, "lsf"),
    ("local machine", Category::Manager, "machine"),
    ("docker", Category::Runtime, "docker"),
    ("podman", Category::Runtime, "podman"),
    ("singularity", Category::Runtime, "singularity"),
    ("singularityce", Category::Runtime, "singularity"),
    ("apptainer", Category::Runtime, "apptainer"),
    ("charliecloud", Category::Runtime, "charliecloud"),
    ("shifter", Category::Runtime, "shifter"),
    ("enroot", Category::Runtime, "enroot"),
    ("sarus", Category::Runtime, "sarus"),
    ("infiniband", Category::Fabric, "infiniband"),
    ("infini-band", Category::Fabric, "infiniband"),
    ("infini band", Category::Fabric, "infiniband"),
    ("ib", Category::Fabric, "infiniband"),
    ("hdr infiniband", Category::Fabric, "infiniband"),
    ("ndr infiniband", Category::Fabric, "infiniband"),
    ("edr infiniband", Category::Fabric, "infiniband"),
    ("omni-path", Category::Fabric, "omni-path"),
    ("omnipath", Category::Fabric, "omni-path"),
    ("omni path", Category::Fabric, "omni-path"),
    ("intel omni-path", Category::Fabric, "omni-path"),
    ("intel omnipath", Category::Fabric, "omni-path"),
    ("opa", Category::Fabric, "omni-path"),
    ("ethernet", Category::Fabric, "ethernet"),
    ("gigabit ethernet", Category::Fabric, "ethernet"),
    ("slingshot", Category::Fabric, "slingshot"),
    ("lustre", Category::FileSystem, "lustre"),
    ("lustrefs", Category::FileSystem, "lustre"),
    ("nfs", Category::FileSystem, "nfs"),
    ("local-scratch", Category::FileSystem, "local-scratch"),
    ("local scratch", Category::FileSystem, "local-scratch"),
    ("node-local scratch", Category::FileSystem, "local-scratch"),
    ("node-local storage", Category::FileSystem, "local-scratch"),
    ("node-local disk", Category::FileSystem, "local-scratch"),
    ("node-local ssd", Category::FileSystem, "local-scratch"),
    ("node-local nvme", Category::FileSystem, "local-scratch"),
    ("node local scratch", Category::FileSystem, "local-scratch"),
    ("node local storage", Category::FileSystem, "local-scratch"),
    ("local storage", Category::FileSystem, "local-scratch"),
    ("local disk", Category::FileSystem, "local-scratch"),
    ("local disks", Category::FileSystem, "local-scratch"),
    ("local ssd", Category::FileSystem, "local-scratch"),
    ("local nvme", Category::FileSystem, "local-scratch"),
    ("nvme scratch", Category::FileSystem, "local-scratch"),
    ("scratch", Category::FileSystem, "scratch"),
    ("scratch-space", Category::FileSystem, "scratch"),
    ("s3", Category::FileSystem, "s3"),
    ("s3-compatible", Category::FileSystem, "s3"),
    ("object storage", Category::FileSystem, "s3"),
    ("object store", Category::FileSystem, "s3"),
    ("object-storage", Category::FileSystem, "s3"),
    ("beegfs", Category::FileSystem, "beegfs"),
    ("bee gfs", Category::FileSystem, "beegfs"),
    ("gpfs", Category::FileSystem, "gpfs"),
    ("spectrum scale", Category::FileSystem, "gpfs"),
    ("ceph", Category::FileSystem, "cephfs"),
    ("cephfs", Category::FileSystem, "cephfs"),
    ("weka", Category::FileSystem, "weka"),
    ("wekafs", Category::FileSystem, "weka"),
    ("daos", Category::FileSystem, "daos"),
    ("zfs", Category::FileSystem, "zfs"),
    ("xfs", Category::FileSystem, "xfs"),
    ("btrfs", Category::FileSystem, "btrfs"),
    ("cifs", Category::FileSystem, "cifs"),
    ("smb", Category::FileSystem, "cifs"),
    ("cloud", Category::Site, "cloud"),
    ("clouds", Category::Site, "cloud"),
    ("public cloud", Category::Site, "cloud"),
    ("commercial cloud", Category::Site, "cloud"),
    ("cloud provider", Category::Site, "cloud"),
    ("cloud providers", Category::Site, "cloud"),
    ("cloud sites", Category::Site, "cloud"),
    ("cloud workers", Category::Site, "cloud"),
    ("cloud resources", Category::Site, "cloud"),
    ("hpc", Category::Site, "hpc"),
    ("hpc sites", Category::Site, "hpc"),
    ("hpc site", Category::Site, "hpc"),
    ("hpc cluster", Category::Site, "hpc"),
    ("hpc clusters", Category::Site, "hpc"),
    ("hpc centre", Category::Site, "hpc"),
    ("hpc centres", Category::Site, "hpc"),
    ("hpc system", Category::Site, "hpc"),
    ("hpc systems", Category::Site, "hpc"),
    ("supercomputer", Category::Site, "hpc"),
    ("supercomputers", Category::Site, "hpc"),
    ("standalone", Category::Site, "standalone"),
    ("standalone machine", Category::Site, "standalone"),
    ("standalone machines", Category::Site, "standalone"),
    ("stand-alone machine", Category::Site, "standalone"),
    ("stand-alone machines", Category::Site, "standalone"),
    ("workstation", Category::Site, "standalone"),
    ("workstations", Category::Site, "standalone"),
    ("desktop", Category::Site, "standalone"),
    ("desktops", Category::Site, "standalone"),
    ("laptop", Category::Site, "standalone"),
    ("laptops", Category::Site, "standalone"),
];

/// Phrases by their first word, the longer ones first, each with what it stands for.
type Index<T> = HashMap<&'static str, Vec<(Vec<&'static str>, T)>>;

static BY_FIRST_WORD: LazyLock<Index<(Category, &str)>> = LazyLock::new(|| {
    let mut index: Index<(Category, &str)> = HashMap::new();
    for (phrase, category, canonical) in NAMES {
        let words: Vec<&str> = phrase.split(' ').collect();
        index.entry(words[0]).or_default().push((words, (*category, canonical)));
    }
    for names in index.values_mut() {
        names.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
    }
    index
});

/// The shipped name at `at`: its category, its canonical form, and the position behind it.
#[must_use]
pub fn name_at(reading: &Reading<'_>, at: usize) -> Option<(Category, &'static str, usize)> {
    let names = BY_FIRST_WORD.get(reading.word(at))?;
    names.iter().find_map(|(words, (category, canonical))| {
        reading.follow(at, words).map(|next| (*category, *canonical, next))
    })
}

/// All container runtimes, for "in a container".
pub const RUNTIMES: &[&str] = &["docker", "podman", "singularity", "apptainer", "charliecloud", "shifter"];

/// All kinds of site.
pub const SITES: &[&str] = &["hpc", "cloud", "standalone"];

/// GPU models, the short names that facts use.
const GPU_MODELS: &[&str] = &[
    "h100", "h200", "h20", "h800", "gh200", "b100", "b200", "b300", "gb200", "gb300", "a100", "a800", "a40",
    "a30", "a16", "a10", "a10g", "a2", "a6000", "a5000", "a4000", "l4", "l40", "l40s", "v100", "v100s",
    "p100", "p40", "p4", "k80", "k40", "m60", "t4", "t1000", "rtx3060", "rtx3070", "rtx3080", "rtx3090",
    "rtx4060", "rtx4070", "rtx4080", "rtx4090", "rtx5080", "rtx5090", "rtx6000", "mi50", "mi60", "mi100",
    "mi210", "mi250", "mi250x", "mi300", "mi300a", "mi300x", "mi325x", "mi355x", "gaudi2", "gaudi3",
];

/// The memory sizes in GB that a model is sold with, where a bare size next to it could be either the
/// GPU's or the node's.
const GPU_MEMORY: &[(&str, &[u32])] = &[
    ("h100", &[80, 94, 96]),
    ("h200", &[141]),
    ("a100", &[40, 80]),
    ("v100", &[16, 32]),
    ("p100", &[12, 16]),
    ("a40", &[48]),
    ("a30", &[24]),
    ("a10", &[24]),
    ("a10g", &[24]),
    ("l4", &[24]),
    ("l40", &[48]),
    ("l40s", &[48]),
    ("t4", &[16]),
    ("b200", &[180, 192]),
    ("gh200", &[96, 144]),
    ("rtx3090", &[24]),
    ("rtx4090", &[24]),
    ("rtx5090", &[32]),
    ("mi210", &[64]),
    ("mi250", &[128]),
    ("mi250x", &[128]),
    ("mi300a", &[128]),
    ("mi300x", &[192]),
];

/// Whether a GPU model is sold with this much memory, whichever gigabyte is meant.
#[must_use]
pub fn has_memory(model: &str, gib: f64) -> bool {
    let gb = gib * 1_073_741_824.0 / 1e9;
    let sizes = GPU_MEMORY.iter().find(|(name, _)| *name == model).map_or(&[][..], |(_, sizes)| sizes);
    sizes.iter().any(|size| f64::from(*size) == gib || (f64::from(*size) - gb).abs() < 1e-6)
}

static GPU_MODEL_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| GPU_MODELS.iter().copied().collect());

/// Words for GPUs without a model.
const GPU_NOUNS: &[&str] = &["gpu", "gpus", "accelerator", "accelerators", "gpgpu", "gpgpus"];

/// The model that a word names: `h100`, `H100s`, `a100-80gb` (without what follows the hyphen).
#[must_use]
pub fn gpu_model(word: &str) -> Option<&'static str> {
    let head = word.split('-').next().unwrap_or(word);
    let whole = GPU_MODEL_SET.get(head).copied();
    whole.or_else(|| head.strip_suffix('s').and_then(|stem| GPU_MODEL_SET.get(stem).copied()))
}

/// Whether a word means GPUs in general.
#[must_use]
pub fn is_gpu_noun(word: &str) -> bool {
    GPU_NOUNS.contains(&word)
}

/// Whether a word is a GPU noun or model.
#[must_use]
pub fn is_gpu_word(word: &str) -> bool {
    is_gpu_noun(word) || gpu_model(word).is_some()
}

/// Software whose name cannot be taken for anything else.
const SOFTWARE: &str = "
lammps gromacs namd amber charmm openmm plumed hoomd hoomd-blue espresso quantum-espresso cp2k vasp nwchem gamess gaussian
orca psi4 pyscf siesta abinit castep octopus yambo wannier90 bigdft dftb+ dftbplus xtb crest qmcpack openmolcas molpro dalton
openfoam su2 nek5000 nekrs nalu-wind code-saturne code_saturne fluent ansys-fluent starccm+ star-ccm+ cfx fenics dolfinx firedrake deal.ii
mfem petsc petsc4py trilinos hypre superlu mumps slepc sundials amrex parmetis metis kokkos raja umpire camp
wrf mpas cesm e3sm icon fv3 nemo roms adcirc geos-chem cdo nco ncl grib-api eccodes
specfem3d specfem3d-globe enzo flash-x gadget4 gadget arepo athena++ castro nyx warpx smilei epoch pic-on-gpu picongpu osiris
hpl hpcg hpcc stream-triad osu-benchmarks osu-micro-benchmarks ior mdtest fio iperf iperf3 likwid hpctoolkit tau scorep score-p papi
amg2023 amg kripke laghos lulesh quicksilver pennant miniamr minife minimd remhos rajaperf mixbench gpcnet phloem chatterbug
bdas cfdscope e3sm-kernels gamess-r1-mp2-miniapp t8code mpi4jax mt-gemm nccl-tests nekbone comd cosp2 miniqmc minivite snap tealeaf cloverleaf babelstream
samurai cortex feynman magma
openmpi open-mpi mpich mvapich mvapich2 cray-mpich intel-mpi spectrum-mpi intel-oneapi-mpi mpi4py pmix ucx libfabric
gcc g++ gfortran llvm clang flang nvhpc aocc oneapi intel-oneapi icc ifort ifx nvcc intel-mkl mkl openblas blas lapack scalapack fftw fftw3 gsl
cuda cudnn cutlass nccl rccl rocm hip tensorrt tensorrt-llm cublas cusparse cupy cupy-cuda12x cupy-cuda11x pyopencl opencl sycl
hdf5 netcdf netcdf-c netcdf-fortran netcdf-cxx netcdf4 pnetcdf parallel-netcdf adios adios2 zarr h5py silo conduit
python python3 cpython pypy julia golang nodejs openjdk java perl ruby rust octave matlab mathematica rlang
numpy scipy pandas polars pyarrow xarray dask modin numba cython numexpr sympy networkx statsmodels scikit-learn scikit-image
imbalanced-learn xgboost lightgbm catboost tensorflow keras keras-cv keras-nlp pytorch torch torchvision torchaudio
pytorch-lightning pytorch-geometric jax jaxlib flax optax haiku equinox transformers peft trl deepspeed megatron megatron-lm fairscale
vllm sglang bitsandbytes sentence-transformers tokenizers onnx onnxruntime onnxruntime-gpu openvino horovod optuna mlflow wandb
langchain llama-index llama.cpp llama-cpp haystack-ai chromadb faiss faiss-gpu spacy nltk gensim diffusers whisper stable-diffusion
matplotlib seaborn plotly bokeh hvplot holoviews altair streamlit gradio jupyter jupyterlab ipython ipykernel ipywidgets nbconvert
rdkit openbabel deepchem mdtraj mdanalysis pymatgen hiphive phonopy pubchempy ovito vmd
astropy sunpy plasmapy metpy yt pydap scanpy anndata scrublet biopython bioconda samtools bcftools bedtools bowtie bowtie2 bwa
hisat2 salmon kallisto gatk blast blast+ ncbi-blast hmmer mafft muscle raxml iqtree iq-tree alphafold alphafold2 alphafold3 colabfold rosettafold
openfold esmfold relion cryosparc eman2 freesurfer fsl ants nextflow snakemake cromwell cwltool
django flask fastapi pydantic sqlalchemy httpx grpcio protobuf loguru pytest numcodecs uncertainties
cmake ninja autoconf automake bazel git gdb valgrind spack conda mamba pip singularity-python
paraview visit-viz vtk ffmpeg imagemagick opencv opencv-python pcl gdal qgis grass-gis postgresql postgres mysql mariadb redis mongodb
elasticsearch kafka hadoop hive pyspark apache-spark hbase cassandra duckdb clickhouse
abaqus ls-dyna lsdyna ansys comsol nastran calculix code-aster elmer moose dakota geant4 root-cern mcnp openmc serpent serpent2 fluka
boost eigen armadillo tbb thrust charm++ hpx legion chapel upc++ gasnet openacc openshmem
xcrysden vesta vmtk meep mpb tidy3d gpaw ase atomate atomate2 fireworks aiida signac parsl covalent
tensorboard kubeflow triton tritonserver rapids cudf cuml cugraph spark-rapids
tmux vim emacs nano
";

/// Software whose name is also a word or very short: taken for software only where a version follows
/// or a word such as "run" or "using" stands before it.
const CONTEXT_SOFTWARE: &str = "
r stream ray boost stan julia root catalyst magma samurai cortex feynman snap star intel amber fluent epoch spark
storm camp raja moose elk exciting charm legion chapel hive ants muscle salmon blast castro enzo crest orca espresso octopus dalton
amg hip triton rapids osiris nemo icon tau silo conduit ruby rust swift java whisper haiku vesta flask ninja modules phloem pennant
quicksilver serpent thrust gadget eigen legion nano aiida covalent campaign maple equinox altair conda pip petsc
";

/// Software named like words that every request uses: only where a version follows, or `installed`.
const EVERYDAY_SOFTWARE: &str = "
go make node rich click fast visit notebook evaluate accelerate datasets diffusers black orange attrs requests pint trust optimum
";

/// Names of several words, with the name that facts use.
const SPELLED_OUT: &[(&str, &str)] = &[
    ("quantum espresso", "quantum-espresso"),
    ("quantumespresso", "quantum-espresso"),
    ("scikit learn", "scikit-learn"),
    ("jupyter notebook", "jupyter"),
    ("jupyter notebooks", "jupyter"),
    ("jupyter lab", "jupyterlab"),
    ("sci-kit learn", "scikit-learn"),
    ("sci-kit-learn", "scikit-learn"),
    ("sklearn", "scikit-learn"),
    ("scikit image", "scikit-image"),
    ("pytorch lightning", "pytorch-lightning"),
    ("pytorch geometric", "pytorch-geometric"),
    ("py torch", "pytorch"),
    ("tensor flow", "tensorflow"),
    ("open foam", "openfoam"),
    ("open mpi", "openmpi"),
    ("open-mpi", "openmpi"),
    ("intel mpi", "intel-mpi"),
    ("cray mpich", "cray-mpich"),
    ("spectrum mpi", "spectrum-mpi"),
    ("intel mkl", "intel-mkl"),
    ("intel oneapi", "intel-oneapi"),
    ("nvidia hpc sdk", "nvhpc"),
    ("hpc sdk", "nvhpc"),
    ("osu benchmarks", "osu-benchmarks"),
    ("osu micro-benchmarks", "osu-micro-benchmarks"),
    ("osu micro benchmarks", "osu-micro-benchmarks"),
    ("nccl tests", "nccl-tests"),
    ("sentence transformers", "sentence-transformers"),
    ("hugging face transformers", "transformers"),
    ("huggingface transformers", "transformers"),
    ("llama index", "llama-index"),
    ("llama cpp", "llama.cpp"),
    ("stable diffusion", "stable-diffusion"),
    ("apache spark", "spark"),
    ("apache hadoop", "hadoop"),
    ("ansys fluent", "ansys-fluent"),
    ("star ccm+", "star-ccm+"),
    ("ls dyna", "ls-dyna"),
    ("code saturne", "code-saturne"),
    ("code aster", "code-aster"),
    ("nalu wind", "nalu-wind"),
    ("iq tree", "iq-tree"),
    ("alpha fold", "alphafold"),
    ("node.js", "nodejs"),
    ("r language", "r"),
    ("netcdf c", "netcdf-c"),
    ("netcdf fortran", "netcdf-fortran"),
    ("parallel netcdf", "parallel-netcdf"),
    ("tensorrt llm", "tensorrt-llm"),
    ("megatron lm", "megatron-lm"),
    ("hoomd blue", "hoomd-blue"),
    ("mt gemm", "mt-gemm"),
    ("imbalanced learn", "imbalanced-learn"),
    ("e3sm kernels", "e3sm-kernels"),
];

static SOFTWARE_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| SOFTWARE.split_whitespace().collect());
static CONTEXT_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| CONTEXT_SOFTWARE.split_whitespace().collect());
static EVERYDAY_SET: LazyLock<HashSet<&str>> =
    LazyLock::new(|| EVERYDAY_SOFTWARE.split_whitespace().collect());
static SPELLED_OUT_INDEX: LazyLock<Index<&str>> = LazyLock::new(|| {
    let mut index: Index<&str> = HashMap::new();
    for (phrase, name) in SPELLED_OUT {
        let words: Vec<&str> = phrase.split(' ').collect();
        index.entry(words[0]).or_default().push((words, name));
    }
    for names in index.values_mut() {
        names.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
    }
    index
});

/// How sure a name is to mean software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It means nothing else.
    Certain,
    /// Only in a context that asks for software.
    InContext,
    /// Only with a version, or where the text says that it is to be installed.
    Versioned,
}

/// How sure a shipped name is to mean software, if it is one.
#[must_use]
pub fn software(name: &str) -> Option<Certainty> {
    if EVERYDAY_SET.contains(name) {
        Some(Certainty::Versioned)
    } else if CONTEXT_SET.contains(name) {
        Some(Certainty::InContext)
    } else if SOFTWARE_SET.contains(name) {
        Some(Certainty::Certain)
    } else {
        None
    }
}

/// The shipped names that mean nothing but software.
pub fn software_names() -> impl Iterator<Item = &'static str> {
    SOFTWARE.split_whitespace().filter(|name| software(name) == Some(Certainty::Certain))
}

/// The name of several words (or of another spelling) at `at`, and the position behind it.
#[must_use]
pub fn spelled_out_at(reading: &Reading<'_>, at: usize) -> Option<(&'static str, usize)> {
    let names = SPELLED_OUT_INDEX.get(reading.word(at))?;
    names.iter().find_map(|(words, name)| reading.follow(at, words).map(|next| (*name, next)))
}

/// Whether a word already means something that software names must not take over.
#[must_use]
pub fn is_reserved(word: &str) -> bool {
    BY_FIRST_WORD.get(word).is_some_and(|names| names.iter().any(|(words, ..)| words.len() == 1))
        || is_gpu_word(word)
        || crate::number::word_value(word).is_some()
        || RESERVED.contains(&word)
}

/// Words that the grammar itself uses and that a fleet must not be able to redefine.
const RESERVED: &[&str] = &[
    "mpi",
    "ram",
    "memory",
    "storage",
    "budget",
    "usd",
    "dollars",
    "gib",
    "gb",
    "tb",
    "tib",
    "mb",
    "kubectl",
    "vcpu",
    "vcpus",
    "cpus",
    "vram",
    "container",
    "containers",
    "containerised",
    "containerized",
    "nodes",
    "cores",
    "tasks",
    "ranks",
    "asap",
    "label",
    "labels",
    "label",
    "nvidia",
    "amd",
    "backtest",
    "backtesting",
    "sma",
    "forest",
    "f1",
    "auc",
    "accuracy",
    "rmse",
    "mae",
    "urgent",
    "urgently",
    "walltime",
];
