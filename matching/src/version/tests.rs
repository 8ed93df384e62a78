use proptest::prelude::*;

use super::*;

#[test]
fn constraints_hold_as_people_mean_them() {
    let table = [
        // date-like versions, in every spelling that sites print
        ("20230802", ">=20230802", true),
        ("20220623", ">=20230802", false),
        ("23Jun2022", ">=20220623", true),
        ("23Jun2022", "<20220623", false),
        ("2 Aug 2023 - Update 1", ">=20230802", true),
        ("stable_2Aug2023_update3", "==20230802", true),
        ("2023.8.2.3.0", ">=20230802", true),
        ("2022.6.23", ">=20230802", false),
        ("20230802.1", ">=20230802", true),
        ("20230802", "2023", true),
        ("20220623", ">=2023", false),
        ("20240207", ">=2023,<2024", false),
        // a bare version and == name a series
        ("2023.3", "2023", true),
        ("2023.3", "==2023", true),
        ("2023.3", "=2023", true),
        ("2023", "2023.3", false),
        ("2022.5", "2023", false),
        ("20231", "2023", false),
        ("2023.0", "2023", true),
        ("1.2", "==1.2.0", true),
        ("1.2.0", "==1.2", true),
        ("1.20", "==1.2", false),
        ("2023rc1", "==2023", false),
        ("3.11.4", "3.11.*", true),
        ("1.1.1w", "==1.1.1", true),
        // order
        ("1.10", ">1.9", true),
        ("1.9", ">=1.10", false),
        ("1.2.3", ">1.2.3", false),
        ("1.2.3", "<=1.2.3", true),
        ("1.2.3rc1", ">=1.2.3", false),
        ("1.2.3rc1", "<1.2.3", true),
        ("1.2.3-rc.1", "<1.2.3", true),
        ("2.0.0b1", "<2.0", true),
        ("4.1.4-2", ">=4.1.4", true),
        ("4.1.4-2", "==4.1.4", true),
        ("4.1.4-2", ">4.1.4", true),
        ("v1.2", ">=1.2", true),
        ("v1.2", "==v1.2.0", true),
        ("gcc (GCC) 12.2.0", ">=12", true),
        ("2.1.0+cu118", "<=2.1.0", true),
        ("2.1.0+cu118", "==2.1.0", true),
        ("00012", "==12", true),
        ("99999999999999999999999999", ">99999999999999999999999998", true),
        // leading components
        ("1.4", "~1.4", true),
        ("1.4.9", "~1.4", true),
        ("1.5.0", "~1.4", false),
        ("1.4.5", "~1.4.2", true),
        ("1.4.1", "~1.4.2", false),
        ("1.5.2", "~1.4.2", false),
        ("1.9", "~1", true),
        ("2.0", "~1", false),
        ("2.7", "^2", true),
        ("2.0.0", "^2", true),
        ("2", "^2.0.0", true),
        ("3.0", "^2", false),
        ("2.0", "^2.1", false),
        ("2.1rc1", "^2.1", false),
        // all of several
        ("1.5", ">=1.2,<2", true),
        ("2.0", ">=1.2,<2", false),
        ("1.1", " >= 1.2 , < 2 ", false),
        // a version without a number satisfies no order
        ("unknown", ">=1", false),
        ("", ">=1", false),
        ("main", "==main", true),
    ];
    for (version, constraint, expected) in table {
        assert_eq!(satisfies(version, constraint), Ok(expected), "{version:?} with {constraint:?}");
    }
}

#[test]
fn a_bad_constraint_is_an_error_with_its_reason() {
    let table = [
        ("", "missing"),
        ("   ", "missing"),
        (">=", "missing"),
        (">=1.2,", "missing"),
        (",", "missing"),
        ("!=1.2", "operator"),
        ("~=1.2", "operator"),
        (">>1.2", "operator"),
        ("=>1.2", "operator"),
        ("1.2 or newer", "other characters"),
        ("==1.2; rm -rf", "other characters"),
        (">=newest", "no number"),
        ("...", "no letter and no digit"),
    ];
    for (constraint, problem) in table {
        let error = satisfies("1.2", constraint).unwrap_err();
        assert!(error.problem.contains(problem), "{constraint:?}: {error}");
    }
    let many = vec![">=1"; 17].join(",");
    assert!(satisfies("1", &many).unwrap_err().problem.contains("16"));
    assert!(satisfies("1", &"9".repeat(200)).unwrap_err().shown.chars().count() == 64);
}

#[test]
fn versions_are_ordered() {
    let ascending = [
        "unknown",
        "1.0dev1",
        "1.0a1",
        "1.0a2",
        "1.0b1",
        "1.0rc1",
        "1.0rc2",
        "1.0",
        "1.0w",
        "1.0.1",
        "1.2rc1",
        "1.2",
        "1.2.3",
        "1.10",
        "2023.3",
        "2023.3.1",
        "2024",
        "17Apr2021",
        "23Jun2022",
        "20230802",
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(Version::parse(a).cmp(&Version::parse(b)), i.cmp(&j), "{a} and {b}");
        }
    }
}

#[test]
fn spellings_of_one_version_are_equal() {
    for same in [
        &["1.2", "v1.2", "1.2.0", "1-2", "01.02", "release_1.2.0.0", "1.2+cpu"][..],
        &["1.0rc1", "1rc1", "1.0-rc.1", "1.0.0c1"],
        &["2Aug2023", "2 August 2023", "20230802", "02-Aug-2023"],
    ] {
        for version in same {
            assert_eq!(Version::parse(version), Version::parse(same[0]), "{version}");
        }
    }
}

#[test]
fn a_named_version_is_told_from_one_that_is_let_through() {
    let names = |version: &str, constraint: &str| {
        Constraint::parse(constraint).unwrap().names(&Version::parse(version))
    };
    assert!(names("20230802", ">=20230802"));
    assert!(names("2Aug2023", ">=20230802"));
    assert!(names("2023.3", "2023"));
    assert!(!names("20240207", ">=20230802"));
    assert!(!names("3.1", "^3.0"));
    assert!(!names("1.5", ">1.2,<2"));
}

/// Texts that look like versions often, and like anything sometimes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(v|stable_|)[0-9]{1,3}([._-]?(0|[0-9]{1,4}|rc|a|b|dev|w|Jun|update)){0,5}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn the_order_is_total(a in text(), b in text(), c in text()) {
        let (a, b, c) = (Version::parse(&a), Version::parse(&b), Version::parse(&c));
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn nothing_panics(version in any::<String>(), constraint in any::<String>()) {
        let _ = satisfies(&version, &constraint);
        let _ = satisfies(&version, &format!(">={version},<{constraint}"));
    }

    #[test]
    fn each_order_is_the_negation_of_its_opposite(version in text(), named in "[0-9]{1,4}(\\.[0-9]{1,3}){0,3}(rc1)?") {
        let check = |operator: &str| satisfies(&version, &format!("{operator}{named}")).unwrap();
        prop_assert_ne!(check(">="), check("<"));
        prop_assert_ne!(check("<="), check(">"));
        prop_assert!(!check("~") || (check(">=") && check("^")));
    }

    #[test]
    fn every_version_with_a_number_satisfies_itself(version in "[0-9]{1,4}(\\.[0-9]{1,4}){0,4}([a-z]{1,4}[0-9])?") {
        for operator in ["", "==", ">=", "<=", "~", "^"] {
            prop_assert_eq!(satisfies(&version, &format!("{operator}{version}")), Ok(true));
        }
    }
}
