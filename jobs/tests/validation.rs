//! What a specification may say, field by field.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use jobs::validate;
use protocol::error::ErrorCode;
use protocol::job::JobSpec;
use serde_json::{Value, json};

fn backtest(changes: Value) -> Result<(), protocol::error::ErrorBody> {
    let mut spec = json!({"data": {"uri": "prices.csv"}});
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    validate(&serde_json::from_value::<JobSpec>(json!({"kind": "backtest", "spec": spec})).unwrap())
}

fn command(spec: Value) -> Result<(), protocol::error::ErrorBody> {
    validate(&serde_json::from_value::<JobSpec>(json!({"kind": "command", "spec": spec})).unwrap())
}

#[test]
fn a_plain_backtest_is_fine() {
    assert_eq!(backtest(json!({})), Ok(()));
    assert_eq!(backtest(json!({"data": {"uri": "parley://artifact/art-1"}})), Ok(()));
    assert_eq!(
        backtest(json!({"strategy": {"name": "sma_cross", "params": {"fast": 1, "slow": 2}}})),
        Ok(())
    );
}

#[test]
fn each_wrong_field_is_named() {
    let sma = |fast: u32, slow: u32| json!({"strategy": {"name": "sma_cross", "params": {"fast": fast, "slow": slow}}});
    for (changes, field) in [
        (json!({"data": {"uri": "http://example.org/prices.csv"}}), "data.uri"),
        (json!({"data": {"uri": "a\u{0}b"}}), "data.uri"),
        (sma(0, 5), "strategy.params.fast"),
        (sma(5, 5), "strategy.params.slow"),
        (sma(5, 2_000_000), "strategy.params.slow"),
        (json!({"portfolio": {"cash": 0}}), "portfolio.cash"),
        (json!({"portfolio": {"cash": -5}}), "portfolio.cash"),
        (json!({"costs": {"fee_rate": 1}}), "costs.fee_rate"),
        (json!({"costs": {"fee_rate": -0.1}}), "costs.fee_rate"),
        (json!({"costs": {"slippage_bps": 20_000}}), "costs.slippage_bps"),
        (json!({"annualisation": 0}), "annualisation"),
    ] {
        let error = backtest(changes).unwrap_err();
        assert_eq!(error.code, ErrorCode::Job);
        assert!(error.message.starts_with(&format!("job.spec.{field} ")), "{}", error.message);
    }
    assert_eq!(backtest(json!({"data": {"uri": " "}})).unwrap_err().code, ErrorCode::JobIncomplete);
}

#[test]
fn a_command_is_a_program_and_stays_in_its_directory() {
    assert_eq!(
        command(json!({"argv": ["lmp", "-in", "in.lj"], "outputs": ["*.dump", "out/log.txt"]})),
        Ok(())
    );
    assert_eq!(command(json!({"software": "lammps"})), Ok(()));
    assert_eq!(command(json!({})).unwrap_err().code, ErrorCode::JobIncomplete);
    for spec in [
        json!({"argv": [""]}),
        json!({"argv": ["a", "b\u{0}"]}),
        json!({"argv": ["a"], "outputs": ["../secret"]}),
        json!({"argv": ["a"], "outputs": ["/etc/passwd"]}),
        json!({"argv": ["a"], "environment": {"PARLEY_JOB_ID": "x"}}),
        json!({"argv": ["a"], "environment": {"1A": "x"}}),
        json!({"argv": ["a"], "environment": {"A=B": "x"}}),
        json!({"argv": ["a"], "time_limit_seconds": 0}),
        json!({"argv": vec!["a"; 2000]}),
    ] {
        assert_eq!(command(spec.clone()).unwrap_err().code, ErrorCode::Job, "{spec}");
    }
}

#[test]
fn an_experiment_names_its_data_and_knows_its_comparisons() {
    let experiment = |op: &str| {
        validate(
            &serde_json::from_value::<JobSpec>(json!({"kind": "ml_experiment", "spec": {
                "data": {"uri": "churn.csv"},
                "model": {"algo": "random_forest", "params": {"trees": 300}},
                "gate": [{"metric": "f1", "op": op, "value": 0.8}],
            }}))
            .unwrap(),
        )
    };
    assert_eq!(experiment(">="), Ok(()));
    assert_eq!(experiment("=>").unwrap_err().code, ErrorCode::Job);
}
