use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node(name: &str, change: impl FnOnce(&mut Value)) -> Node {
    let mut node = json!({
        "metadata": {"name": name, "labels": {}},
        "status": {"allocatable": {"cpu": "3920m", "memory": "16Gi", "pods": "110"},
                   "conditions": [{"type": "Ready", "status": "True"}]},
    });
    change(&mut node);
    read(node)
}

fn pod(on: &str, spec: Value, owner: &str) -> Resident {
    let mut pod = json!({"metadata": {"ownerReferences": [{"kind": owner, "name": "o", "uid": "u", "apiVersion": "v1"}]},
        "spec": spec, "status": {"phase": "Running"}});
    pod["spec"]["nodeName"] = json!(on);
    Resident::of(&read(pod)).unwrap()
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]})
}

#[test]
fn what_belongs_to_the_node_is_not_for_work() {
    let pods = vec![
        pod("a", asks("900m"), "DaemonSet"),
        pod("a", asks("100m"), "Node"),
        pod("b", asks("500m"), "Job"),
    ];
    let cluster = Cluster::of(vec![node("a", |_| {}), node("b", |_| {})], Some(pods), &[]);
    assert_eq!(cluster.nodes[0].has, Amount { millicores: 2920, memory: 14 << 30, gpus: 0 });
    assert_eq!(cluster.nodes[0].free, Some(cluster.nodes[0].has));
    assert_eq!(cluster.nodes[1].free, Some(Amount { millicores: 3420, memory: 15 << 30, gpus: 0 }));
    // 2.92 and 3.92 cores are 2 and 3 for work that asks for whole ones.
    assert_eq!(cluster.total().slots().cores, 5);
    let groups = cluster.groups();
    assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["nodes", "nodes/2"]);
    assert_eq!((groups[0].nodes_free, groups[1].nodes_free), (Some(1), Some(0)));
}

#[test]
fn nodes_that_take_no_work_are_out() {
    let out: Vec<Node> = vec![
        node("cordoned", |node| node["spec"] = json!({"unschedulable": true})),
        node("not-ready", |node| node["status"]["conditions"][0]["status"] = json!("Unknown")),
        node("no-word", |node| node["status"] = json!({})),
        node("control", |node| {
            node["spec"] =
                json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
        }),
        node("leaving", |node| {
            node["spec"] = json!({"taints": [{"key": "nvidia.com/gpu", "effect": "NoExecute"}]})
        }),
    ];
    let cluster = Cluster::of(out, Some(Vec::new()), &[]);
    assert_eq!((cluster.out_of_service(), cluster.total()), (5, Amount::default()));
    let soft = json!({"taints": [{"key": "spot", "effect": "PreferNoSchedule"}]});
    let cluster = Cluster::of(vec![node("soft", |node| node["spec"] = soft)], Some(Vec::new()), &[]);
    assert_eq!(cluster.out_of_service(), 0);
}

#[test]
fn a_pod_takes_its_largest_moment() {
    let spec = json!({
        "initContainers": [
            {"name": "before", "resources": {"requests": {"cpu": "3"}}},
            {"name": "beside", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
        ],
        "containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1"}}},
            {"name": "b", "resources": {"limits": {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"}}},
        ],
        "overhead": {"cpu": "250m"},
    });
    let pod = pod("a", spec, "Job");
    assert_eq!(pod.takes, Amount { millicores: 3250, memory: 2 << 30, gpus: 1 });
}

#[test]
fn models_are_short_and_slices_keep_their_name() {
    let product = |resource: &str, label: &str, product: &str| {
        let node = node("gpu", |node| {
            node["status"]["allocatable"][resource] = json!("4");
            node["metadata"]["labels"][label] = json!(product);
        });
        Cluster::of(vec![node], Some(Vec::new()), &[]).groups()[0].gpu_model.clone()
    };
    let nvidia = |name| product("nvidia.com/gpu", "nvidia.com/gpu.product", name).unwrap();
    assert_eq!(nvidia("NVIDIA-H100-80GB-HBM3"), "h100");
    assert_eq!(nvidia("Tesla-V100-SXM2-16GB"), "v100");
    assert_eq!(nvidia("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"), "nvidia_a100_sxm4_40gb_mig_1g.5gb");
    let amd = product("amd.com/gpu", "amd.com/gpu.product-name", "AMD_Instinct_MI300X_OAM");
    assert_eq!(amd.as_deref(), Some("mi300x"));
    assert_eq!(product("nvidia.com/gpu", "other", "x"), None);
}

#[test]
fn a_quota_with_a_scope_is_not_for_all_work() {
    let quota = |scopes: Value| -> ResourceQuota {
        read(json!({"spec": {"scopes": scopes}, "status": {"hard": {"cpu": "2"}, "used": {"cpu": "500m"}}}))
    };
    let cores = |quotas: &[ResourceQuota]| {
        let cluster = Cluster::of(vec![node("a", |_| {})], Some(Vec::new()), quotas);
        (cluster.total().slots().cores, cluster.free().unwrap().slots().cores)
    };
    assert_eq!(cores(&[quota(json!(["BestEffort"]))]), (3, 3));
    assert_eq!(cores(&[quota(json!([]))]), (2, 1));
}
