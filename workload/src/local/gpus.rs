//! GPUs by name: which ones a job gets, what it is told about them, and which are somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::WorkloadError;

/// Who made a GPU, and so which runtime shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuVendor {
    /// CUDA; `CUDA_VISIBLE_DEVICES`.
    Nvidia,
    /// ROCm; `ROCR_VISIBLE_DEVICES`.
    Amd,
}

/// A GPU that jobs may be given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GpuDevice {
    /// As the vendor's variable takes it: a UUID (`GPU-...`, `MIG-...`) or an index.
    pub id: String,
    /// Who made it.
    pub vendor: GpuVendor,
}

/// Tells the GPUs on which any process computes now. It is asked in a thread of its own and may take a few
/// seconds.
#[derive(Clone)]
pub struct BusyGpus(Arc<dyn Fn() -> BTreeSet<GpuDevice> + Send + Sync>);

impl BusyGpus {
    /// Asks a function.
    pub fn new(look: impl Fn() -> BTreeSet<GpuDevice> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(super) fn look(&self) -> BTreeSet<GpuDevice> {
        (self.0)()
    }
}

impl fmt::Debug for BusyGpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusyGpus")
    }
}

/// Refuses a list in which a device could be given to two jobs, or that no variable could hold.
pub(super) fn check(devices: &[GpuDevice]) -> Result<(), WorkloadError> {
    let refuse = |reason: String| Err(WorkloadError::Refused { field: "gpus", reason });
    let mut seen = BTreeSet::new();
    for device in devices {
        if device.id.is_empty() || device.id.contains([',', '\0']) {
            return refuse(format!("{:?} is no id of a GPU", device.id));
        }
        if !seen.insert((device.vendor, &device.id)) {
            return refuse(format!("{:?} is listed twice", device.id));
        }
    }
    Ok(())
}

/// Devices for one job out of those that are not taken. All are of one vendor, as one program cannot use
/// two, unless the job takes the whole machine.
pub(super) fn choose(
    devices: &[GpuDevice],
    wanted: u32,
    taken: impl Fn(&GpuDevice) -> bool,
) -> Option<Vec<GpuDevice>> {
    let wanted = wanted as usize;
    let free = |vendor: Option<GpuVendor>| {
        let fits = move |device: &&GpuDevice| vendor.is_none_or(|vendor| device.vendor == vendor);
        let picked: Vec<GpuDevice> =
            devices.iter().filter(fits).filter(|device| !taken(device)).take(wanted).cloned().collect();
        (picked.len() == wanted).then_some(picked)
    };
    if wanted == devices.len() {
        return free(None);
    }
    [GpuVendor::Nvidia, GpuVendor::Amd].into_iter().find_map(|vendor| free(Some(vendor)))
}

/// The variables that show a job its devices and hide all others.
pub(super) fn variables(devices: &[GpuDevice]) -> BTreeMap<String, String> {
    let list = |vendor| {
        let ids = devices.iter().filter(|device| device.vendor == vendor).map(|device| device.id.as_str());
        ids.collect::<Vec<_>>().join(",")
    };
    let (nvidia, amd) = (list(GpuVendor::Nvidia), list(GpuVendor::Amd));
    let mut variables = BTreeMap::new();
    // Programs built for ROCm read CUDA's variable too, and would hide what they were given.
    if amd.is_empty() || !nvidia.is_empty() {
        variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), nvidia);
    }
    variables.insert("ROCR_VISIBLE_DEVICES".to_owned(), amd);
    variables
}

/// A device in the journal. Journals of earlier versions hold its place in the list of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Device(GpuDevice),
    Place(usize),
}

impl Written {
    /// The device, if there still is one at that place.
    pub(super) fn device(&self, devices: &[GpuDevice]) -> Option<GpuDevice> {
        match self {
            Self::Device(device) => Some(device.clone()),
            Self::Place(place) => devices.get(*place).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(vendor: GpuVendor, id: &str) -> GpuDevice {
        GpuDevice { id: id.to_owned(), vendor }
    }

    fn mixed() -> Vec<GpuDevice> {
        vec![device(GpuVendor::Nvidia, "GPU-1"), device(GpuVendor::Amd, "0"), device(GpuVendor::Amd, "1")]
    }

    #[test]
    fn a_job_gets_devices_of_one_vendor_or_all() {
        let ids = |wanted| {
            let chosen = choose(&mixed(), wanted, |_| false)?;
            Some(chosen.into_iter().map(|device| device.id).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(ids(0).as_deref(), Some(""));
        assert_eq!(ids(1).as_deref(), Some("GPU-1"));
        assert_eq!(ids(2).as_deref(), Some("0 1"));
        assert_eq!(ids(3).as_deref(), Some("GPU-1 0 1"));
        assert_eq!(ids(4), None);
        assert_eq!(choose(&mixed(), 2, |device| device.id == "1"), None);
    }

    #[test]
    fn a_job_is_shown_its_devices_only() {
        let shown = |devices: &[GpuDevice]| {
            let variables = variables(devices);
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let all = mixed();
        assert_eq!(shown(&[]), "CUDA_VISIBLE_DEVICES= ROCR_VISIBLE_DEVICES=");
        assert_eq!(shown(&all[..1]), "CUDA_VISIBLE_DEVICES=GPU-1 ROCR_VISIBLE_DEVICES=");
        assert_eq!(shown(&all[1..]), "ROCR_VISIBLE_DEVICES=0,1");
        assert_eq!(shown(&all), "CUDA_VISIBLE_DEVICES=GPU-1 ROCR_VISIBLE_DEVICES=0,1");
    }

    #[test]
    fn a_device_is_listed_once_and_has_a_name() {
        check(&mixed()).unwrap();
        check(&[device(GpuVendor::Amd, "0"), device(GpuVendor::Nvidia, "0")]).unwrap();
        for bad in [
            vec![device(GpuVendor::Amd, "0"); 2],
            vec![device(GpuVendor::Amd, "0,1")],
            vec![device(GpuVendor::Amd, "")],
        ] {
            assert!(matches!(check(&bad), Err(WorkloadError::Refused { field: "gpus", .. })), "{bad:?}");
        }
    }

    #[test]
    fn both_forms_in_the_journal_are_read() {
        let read: Vec<Written> =
            serde_json::from_str(r#"[1, {"id": "GPU-1", "vendor": "nvidia"}, 7]"#).unwrap();
        let devices: Vec<GpuDevice> = read.iter().filter_map(|written| written.device(&mixed())).collect();
        assert_eq!(devices, [device(GpuVendor::Amd, "0"), device(GpuVendor::Nvidia, "GPU-1")]);
    }
}
