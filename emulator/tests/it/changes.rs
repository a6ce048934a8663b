//! What happens to secrets over time: rotation at a rate, front ends that differ, backups.

use std::time::Duration;

use crate::client::Bench;

async fn value(bench: &Bench, name: &str) -> String {
    let json = bench.ask(&format!("/secrets/{name}")).await.json();
    json["value"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn secrets_are_rotated_in_turn_until_the_rotation_is_dropped() {
    let bench = Bench::new();
    let label = |name: &str, number: usize| format!("{name} {number}");
    let rotation = bench.vault.rotate_every(Duration::from_millis(2), &["a", "b"], label);
    assert!(value(&bench, "b").await.starts_with("b "));
    while rotation.count() < 10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(rotation);

    let (a, b) = (bench.vault.versions("a").len(), bench.vault.versions("b").len());
    assert!(a >= 6 && (a == b || a == b + 1), "{a} {b}");
    assert_eq!(value(&bench, "a").await, format!("a {}", a - 1));
}

#[tokio::test]
async fn two_front_ends_answer_in_turn_until_the_one_behind_has_caught_up() {
    let bench = Bench::new();
    bench.vault.put("db", "old");
    bench.vault.put("gone", "old");
    bench.vault.fall_behind();
    bench.vault.put("db", "new");
    bench.vault.delete("gone");

    for expected in ["new", "old", "new", "old"] {
        assert_eq!(value(&bench, "db").await, expected);
    }
    assert_eq!(bench.ask("/secrets/gone").await.status, 404);
    assert_eq!(bench.ask("/secrets/gone").await.status, 200);
    let pages = [bench.ask("/secrets").await.json(), bench.ask("/secrets").await.json()];
    let lengths = pages.map(|page| page["value"].as_array().unwrap().len());
    assert_eq!(lengths, [1, 2]);

    bench.vault.catch_up();
    for _ in 0..2 {
        assert_eq!(value(&bench, "db").await, "new");
    }
}

#[tokio::test]
async fn an_older_version_can_be_restored_as_the_newest() {
    let bench = Bench::new();
    let first = bench.vault.put("db", "one");
    bench.vault.put("db", "two");
    assert!(bench.vault.restore("db", &first));
    assert_eq!(value(&bench, "db").await, "one");
    assert_eq!(bench.vault.versions("db"), [first]);
    assert!(!bench.vault.restore("db", "00000000000000000000000000000000"));
}
