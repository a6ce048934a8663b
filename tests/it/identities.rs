//! Every kind of machine: the value is read with one token, asked for in that machine's own words,
//! and what opens its door gets nowhere else.

use std::fs;
use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind as FaultKind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::record::Request;

use crate::canary::Canaries;
use crate::host::Host;
use crate::host::KEYS;
use crate::host::KINDS;
use crate::host::Kind;
use crate::together::together;
use crate::world::try_until;
use crate::world::until;

/// How often each is asked for one token, and what it is told.
fn words(kind: Kind) -> (usize, &'static str, &'static [&'static str]) {
    let resource = "resource=https%3A%2F%2Fvault.azure.net";
    match kind {
        Kind::Vm => (1, "api-version=2018-02-01", &["metadata"]),
        Kind::AppService => (1, "api-version=2019-08-01", &["metadata", "x-identity-header"]),
        Kind::OldAppService | Kind::AzureMl => (1, "api-version=2017-09-01", &["secret"]),
        Kind::CloudShell => (1, resource, &["content-length", "content-type", "metadata"]),
        // It is told twice, the second time with the key.
        Kind::Arc => (2, "api-version=2020-06-01", &["metadata"]),
        Kind::ServiceFabric => (1, "api-version=2019-07-01-preview", &["secret"]),
    }
}

fn tokens(host: &Host) -> Vec<Request> {
    let mut requests = host.world.emulator.requests();
    requests.retain(Request::is_token);
    requests
}

#[test]
fn a_value_costs_one_token_asked_for_in_the_words_of_the_machine() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        let (times, version, own) = words(kind);
        assert_eq!(host.get(&[]).ok(), "s3cret", "{kind:?}");
        let asked = tokens(&host);
        assert_eq!(asked.len(), times, "{kind:?}: {asked:#?}");
        for request in &asked {
            let mut said: Vec<&str> = request.headers.keys().map(String::as_str).collect();
            said.retain(|name| !["accept", "host", "user-agent"].contains(name));
            assert_eq!(said, own, "{kind:?}");
            if kind == Kind::CloudShell {
                let field = ("resource".to_owned(), "https://vault.azure.net".to_owned());
                assert_eq!((&request.form, request.method.as_str()), (&vec![field], "POST"));
                assert_eq!(request.query, "");
            } else {
                let query = format!("{version}&resource=https%3A%2F%2Fvault.azure.net");
                assert_eq!((&request.query, request.method.as_str()), (&query, "GET"));
            }
        }
        assert_eq!(host.world.emulator.count(|it| it.is_get_of("ftpadmin")), 1);
    });
}

#[test]
fn a_mount_takes_one_token_for_all_its_readers_on_every_machine() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        for number in 0..40 {
            host.world.vault().put(&format!("cold-{number}"), "s3cret");
        }
        let (mounted, said) = host.mount("check=off");
        assert_eq!(said, "", "{kind:?}");
        let readers: Vec<_> =
            (0..40).map(|number| mounted.reader(&format!("cold-{number}"))).collect();
        for reader in readers {
            assert_eq!(reader.result().0, Ok(b"s3cret".to_vec()), "{kind:?}");
        }
        assert_eq!(tokens(&host).len(), words(kind).0, "{kind:?}");
    });
}

#[test]
fn a_worker_that_is_restarted_still_has_what_opens_the_door() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        let (mounted, _) = host.mount("rw");
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret", "{kind:?}");
        host.world.vault().put("another", "value");
        let before = tokens(&host).len();
        host.world.process("worker").unwrap().kill();
        assert_eq!(mounted.cat("another").ok(), "value", "{kind:?}");
        assert_eq!(tokens(&host).len(), before + words(kind).0, "{kind:?}");
    });
}

#[test]
fn what_opens_a_door_is_in_no_argument_environment_log_or_error() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        let mut canaries = Canaries::default();
        if let Some(secret) = &host.secret {
            canaries.add(secret);
        }
        let log = host.world.directory().join("log");
        let (mounted, said) = host.mount(&format!("verbose,verbose,log={}", log.display()));
        canaries.look_into("what mount says", said);
        mounted.cat("ftpadmin").ok();
        let wrong = [
            FaultKind::Body("{}".to_owned()),
            FaultKind::html(403),
            FaultKind::status(500),
            FaultKind::Status { code: 401, body: String::new(), headers: Vec::new() },
        ];
        for fault in wrong {
            let fault = host.world.emulator.inject(Fault::always(Scope::Token, fault));
            let ran = host.get(&["-vv", "--open-timeout=300ms"]);
            assert_ne!(ran.code, Some(0), "{kind:?}");
            canaries.look_into_output(&ran);
            host.world.emulator.clear(fault);
        }
        for key in host.world.emulator.arc_keys() {
            canaries.add(&key);
        }
        for token in host.world.emulator.imds().tokens() {
            canaries.add(token.rsplit('.').next().unwrap());
        }
        canaries.look_into_processes(&host.world);
        canaries.look_into("the log", host.world.read(&log).unwrap());
        canaries.look_into_output(&host.get(&["-vv", "--open-timeout=nonsense"]));
    });
}

#[test]
fn trouble_that_passes_is_waited_for_on_every_machine() {
    let other = r#"{"access_token":"eyJ","expires_in":"60","expires_on":"1","resource":"https://management.azure.com","token_type":"Bearer"}"#;
    let faults = [
        FaultKind::status(429),
        FaultKind::status(500),
        FaultKind::html(503),
        FaultKind::Body("<html>".to_owned()),
        FaultKind::Body(other.to_owned()),
        FaultKind::Reset,
        FaultKind::Redirect { code: 302, location: "http://192.0.2.10/".to_owned() },
    ];
    let cases = KINDS.into_iter().flat_map(|kind| faults.clone().map(|fault| (kind, fault)));
    together(cases, |(kind, fault)| {
        let Some(host) = Host::new(kind) else { return };
        let what = format!("{kind:?} {fault:?}");
        host.world.emulator.inject(Fault::times(2, Scope::Token, fault));
        let ran = host.get(&[]);
        assert_eq!(
            (ran.code, ran.stdout.as_slice()),
            (Some(0), &b"s3cret"[..]),
            "{what}: {ran:#?}"
        );
        at_most_twice_a_second(&host, words(kind).0);
    });
}

/// Each question counts once, though Arc hears it in two requests, and a connection that broke is
/// tried again.
#[track_caller]
fn at_most_twice_a_second(host: &Host, times: usize) {
    let moments: Vec<Duration> = tokens(host).iter().map(|request| request.at).collect();
    for window in moments.windows(2 * times + 3) {
        let (first, last) = (window[0], window[window.len() - 1]);
        assert!(last - first > Duration::from_millis(450), "{moments:?}");
    }
}

#[test]
fn a_clock_that_is_ten_hours_wrong_costs_no_token_more() {
    let cases = KINDS.into_iter().flat_map(|kind| [(kind, 36_000), (kind, -36_000)]);
    together(cases, |(kind, ahead)| {
        let Some(host) = Host::new(kind) else { return };
        host.world.emulator.imds().set_ahead(ahead);
        let (mounted, said) = host.mount("refresh=100ms");
        assert_eq!(said, "", "{kind:?} {ahead}");
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret", "{kind:?} {ahead}");
        host.world.vault().put("ftpadmin", "another");
        until("it is seen", || mounted.read("ftpadmin").is_ok_and(|value| value == b"another"));
        assert_eq!(tokens(&host).len(), words(kind).0, "{kind:?} {ahead}");
    });
}

#[test]
fn an_identity_that_is_chosen_is_told_where_it_can_be_and_refused_where_not() {
    together(KINDS, |kind| {
        let Some(mut host) = Host::new(kind) else { return };
        let user = Identity::numbered(7);
        host.world.emulator.imds().add_user(user.clone());
        let choices = [
            (format!("client-id:{}", user.client_id), "client_id"),
            (format!("object-id:{}", user.object_id), "object_id"),
            (format!("resource-id:{}", user.resource_id), "res_id"),
        ];
        for (choice, parameter) in choices {
            let can = match kind {
                Kind::Vm | Kind::AppService => true,
                Kind::OldAppService | Kind::AzureMl => parameter == "client_id",
                Kind::CloudShell | Kind::Arc | Kind::ServiceFabric => false,
            };
            host.world.emulator.reset_requests();
            let ran = host.get(&["--identity", &choice]);
            if can {
                assert_eq!(ran.ok(), "s3cret", "{kind:?} {choice}");
                let query = &tokens(&host)[0].query;
                let parameter =
                    parameter.replace('_', if query.contains("clientid") { "" } else { "_" });
                assert!(query.contains(&format!("{parameter}=")), "{kind:?} {query}");
            } else {
                let said = ran.failed(1);
                assert!(said.contains("identity=") && said.contains("hint: "), "{kind:?} {said}");
                assert_eq!(tokens(&host).len(), 0, "{kind:?}");
            }
        }
        host.set("AZURE_CLIENT_ID", &user.client_id);
        let ran = host.get(&[]);
        match kind {
            Kind::Vm | Kind::AppService | Kind::OldAppService | Kind::AzureMl => {
                assert_eq!(ran.ok(), "s3cret", "{kind:?}");
            }
            Kind::CloudShell | Kind::Arc | Kind::ServiceFabric => {
                let said = ran.failed(1);
                assert!(said.contains("AZURE_CLIENT_ID"), "{kind:?} {said}");
            }
        }
    });
}

#[test]
fn a_wrong_identity_ends_in_time_with_the_option_to_set() {
    let other = Identity::numbered(0xff).client_id;
    together([Kind::Vm, Kind::AppService, Kind::AzureMl], |kind| {
        let Some(host) = Host::new(kind) else { return };
        let choice = format!("--identity=client-id:{other}");
        let ran = host.get(&[&choice, "--open-timeout=2s"]);
        assert!(ran.took < Duration::from_secs(3), "{kind:?} {ran:?}");
        let said = ran.failed(4);
        assert!(said.contains(&other) && said.contains("identity=client-id:GUID"), "{said}");
        assert_eq!(tokens(&host).len(), 1, "{kind:?}");
        if kind != Kind::Vm {
            assert!(!said.contains("metadata service"), "{said}");
        }
    });
}

#[test]
fn an_identity_that_comes_later_is_found_on_every_machine() {
    let kinds = [Kind::AppService, Kind::AzureMl, Kind::Arc, Kind::ServiceFabric];
    together(kinds, |kind| {
        let Some(host) = Host::new(kind) else { return };
        host.world.emulator.imds().set_system(None);
        let (mounted, said) = host.mount("open-timeout=500ms");
        assert_eq!(said.matches("akvfs: warning: ").count(), 1, "{kind:?} {said}");
        assert_ne!(mounted.cat("ftpadmin").code, Some(0));
        host.world.emulator.imds().set_system(Some(Identity::numbered(0)));
        let long = Duration::from_secs(45);
        let heals = try_until(long, || mounted.cat("ftpadmin").stdout == b"s3cret");
        assert!(heals, "{kind:?}");
        assert!(tokens(&host).len() <= 4, "{kind:?}: a refusal stands for half a minute");
    });
}

#[test]
fn a_cluster_that_shows_another_certificate_hears_nothing() {
    let Some(mut host) = Host::new(Kind::ServiceFabric) else { return };
    host.set("IDENTITY_SERVER_THUMBPRINT", &"AB".repeat(20));
    let said = host.get(&["--open-timeout=1s"]).failed(5);
    assert!(said.contains("Service Fabric") && said.contains("another than the one"), "{said}");
    assert_eq!(tokens(&host).len(), 0);
}

/// Seen in the field: the key may be read by root and one group alone, and the error spoke of a
/// service that such machines do not have.
#[test]
fn who_may_not_read_the_key_of_arc_is_told_folder_user_and_group() {
    let Some(host) = Host::new(Kind::Arc) else { return };
    host.admit_to_keys("syslog");
    let (mounted, said) = host.mount("open-timeout=1s,run-as=65534");
    assert_eq!(said.matches("akvfs: warning: ").count(), 1, "{said}");
    for word in [KEYS, "nobody", "usermod -aG himds nobody"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("IMDS") && !said.contains("metadata service"), "{said}");
    assert_eq!(mounted.outcome("ftpadmin"), Err(rustix::io::Errno::NOKEY));
    drop(mounted);
    host.admit_to_keys("syslog,nobody");
    let (mounted, said) = host.mount("run-as=65534");
    assert_eq!((said.as_str(), mounted.cat("ftpadmin").ok()), ("", "s3cret".to_owned()));
}

/// Whoever sits on the agent's port would have a file read to him.
#[test]
fn no_challenge_of_arc_has_anything_read_but_a_key_in_its_folder() {
    let Some(host) = Host::new(Kind::Arc) else { return };
    let canary = "c4nary-for-whoever-listens-there";
    let mut canaries = Canaries::default();
    canaries.add(canary);
    host.world.write("/run/canary.key", canary);
    host.world.inside(|| {
        fs::write(format!("{KEYS}/two words.key"), canary).unwrap();
        fs::write(format!("{KEYS}/plain"), canary).unwrap();
        fs::write(format!("{KEYS}/long.key"), canary.repeat(200)).unwrap();
        fs::write(format!("{KEYS}/lines.key"), format!("{canary}\n{canary}\n")).unwrap();
        fs::create_dir(format!("{KEYS}/deeper")).unwrap();
        fs::write(format!("{KEYS}/deeper/a.key"), canary).unwrap();
        std::os::unix::fs::symlink("/run/canary.key", format!("{KEYS}/link.key")).unwrap();
        std::os::unix::fs::symlink("/run", format!("{KEYS}/away")).unwrap();
    });
    let names = ["two words.key", "plain", "long.key", "lines.key", "deeper/a.key", "link.key"];
    let names = names.into_iter().chain(["away/canary.key", "../tokens/link.key", ".key", ""]);
    let mut realms: Vec<String> = names.map(|name| format!("{KEYS}/{name}")).collect();
    realms.extend(
        ["/run/canary.key", "run/canary.key", "//run/canary.key", "/etc/shadow"].map(Into::into),
    );
    realms.push(format!("{KEYS}/../../../../run/canary.key"));
    realms.push(format!("\"{KEYS}/link.key\""));
    for realm in realms {
        host.world.emulator.reset_requests();
        host.world.emulator.set_arc_realm(Some(&realm));
        let ran = host.get(&["--open-timeout=300ms", "-vv"]);
        canaries.look_into_output(&ran);
        let said = ran.failed(5);
        assert!(said.contains("key"), "{realm}: {said}");
        let asked = tokens(&host);
        assert!(!asked.is_empty() && asked.iter().all(|it| it.was_answered(401)), "{realm}");
        let shown =
            asked.iter().filter(|it| it.credential != akvfs_emulator::record::Credential::Absent);
        assert_eq!(shown.count(), 0, "{realm}");
    }
    host.world.emulator.set_arc_realm(None);
    assert_eq!(host.get(&[]).ok(), "s3cret");
}

#[test]
fn no_redirect_of_a_token_service_is_followed() {
    let codes = [301, 302, 303, 307, 308];
    let cases = KINDS.into_iter().flat_map(|kind| codes.map(|code| (kind, code)));
    together(cases, |(kind, code)| {
        let Some(host) = Host::new(kind) else { return };
        let door = host.world.inside(|| std::net::TcpListener::bind("192.0.2.10:80").unwrap());
        door.set_nonblocking(true).unwrap();
        for location in ["http://192.0.2.10/token", "/elsewhere", "https://192.0.2.10/token"] {
            let kind = FaultKind::Redirect { code, location: location.to_owned() };
            host.world.emulator.inject(Fault::always(Scope::Token, kind));
            host.get(&["--open-timeout=300ms"]).failed(5);
            host.world.emulator.clear_all();
        }
        let called = door.accept().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "{kind:?} {code}");
        let elsewhere = host.world.emulator.count(|request| !request.is_token());
        assert_eq!(elsewhere, 0, "{kind:?} {code}");
    });
}

#[test]
fn with_verbose_it_is_said_where_tokens_come_from_and_why_not_from_others() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        let said = host.get(&["-v"]).stderr;
        let (source, others) = match kind {
            Kind::Vm => ("the metadata service", &["app-service (IDENTITY_ENDPOINT", "arc ("][..]),
            Kind::AppService => ("App Service", &[][..]),
            Kind::OldAppService | Kind::AzureMl => ("Azure ML", &["app-service (IDENTITY"][..]),
            Kind::CloudShell => ("Cloud Shell", &["azure-ml (MSI_SECRET is not set)"][..]),
            Kind::Arc => ("the Azure Arc agent", &["app-service (IDENTITY_HEADER is not set)"][..]),
            Kind::ServiceFabric => ("Service Fabric", &["IDENTITY_SERVER_THUMBPRINT is set"][..]),
        };
        assert!(said.contains(&format!("tokens come from {source} (auto)")), "{said}");
        assert!(others.iter().all(|other| said.contains(other)), "{said}");
        assert_eq!(host.get(&[]).stderr, "");
    });
}

#[test]
fn what_the_environment_says_later_changes_nothing() {
    let Some(host) = Host::new(Kind::AppService) else { return };
    let log = host.world.directory().join("log");
    let (mounted, _) = host.mount(&format!("verbose,log={}", log.display()));
    host.world.emulator.imds().expire_tokens();
    host.world.process("worker").unwrap().kill();
    host.world.vault().put("another", "value");
    assert_eq!(mounted.cat("another").ok(), "value");
    let said = String::from_utf8(host.world.read(&log).unwrap()).unwrap();
    assert_eq!(said.matches("tokens come from App Service (auto)").count(), 1, "{said}");
    let metadata = |request: &Request| request.service == akvfs_emulator::record::Service::Metadata;
    assert_eq!(host.world.emulator.count(metadata), 0);
}
