//! A vault that wants to see more in a token: it gets one that claims so, where the issuer can be
//! told, and one new token like any other where not.

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind as FaultKind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Request;
use rustix::io::Errno;

use crate::host::Host;
use crate::host::KINDS;
use crate::host::Kind;
use crate::together::together;
use crate::world::World;

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"},"xms_caeerror":{"value":"10012"}}}"#;
const ENCODED: &str = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzI2MDc3NTk1In0sInhtc19jYWVlcnJvciI6eyJ2YWx1ZSI6IjEwMDEyIn19fQ==";

fn challenge() -> FaultKind {
    FaultKind::Challenge(format!(
        r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="{ENCODED}""#
    ))
}

/// A world with a principal, and the environment that names it.
fn principal(world: &World) -> [(&'static str, String); 3] {
    world.vault().put("ftpadmin", "s3cret");
    let entra = world.emulator.entra();
    let principal = entra.register(1);
    entra.set_secret(&principal, "p/ss+word-of-some-length");
    [
        ("AZURE_TENANT_ID", TENANT.to_owned()),
        ("AZURE_CLIENT_ID", principal.client_id),
        ("AZURE_CLIENT_SECRET", "p/ss+word-of-some-length".to_owned()),
    ]
}

fn exchanges(world: &World) -> Vec<Option<String>> {
    let asked = world.emulator.requests().into_iter().filter(Request::is_exchange);
    let claims = |request: Request| {
        let mut fields = request.form.into_iter();
        fields.find(|(name, _)| name == "claims").map(|(_, value)| value)
    };
    asked.map(claims).collect()
}

#[test]
fn the_next_token_claims_what_the_vault_wants_to_see_and_the_one_after_does_not() {
    let Some(world) = World::new() else { return };
    let environment = principal(&world);
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    world.akvfs_with(&environment, &["mount", "my-vault", directory, "-o", "check=off"]).ok();
    world.emulator.inject(Fault::times(1, Scope::Get, challenge()));
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    assert_eq!(exchanges(&world), [None, Some(CLAIMS.to_owned())]);
    world.emulator.imds().expire_tokens();
    world.vault().put("another", "value");
    assert_eq!(mounted.outcome("another"), Ok(b"value".to_vec()));
    assert_eq!(exchanges(&world), [None, Some(CLAIMS.to_owned()), None]);
}

#[test]
fn a_vault_that_is_never_content_gets_two_tokens() {
    let Some(world) = World::new() else { return };
    let environment = principal(&world);
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    world.emulator.inject(Fault::always(Scope::Get, challenge()));
    let said = world.akvfs_with(&environment, &["get", "my-vault", "ftpadmin"]).failed(4);
    assert!(said.contains("401") && !said.contains("nbf"), "{said}");
    assert_eq!(exchanges(&world), [None, Some(CLAIMS.to_owned())]);
}

#[test]
fn where_nobody_can_be_told_it_is_a_401_like_any_other() {
    together(KINDS, |kind| {
        let Some(host) = Host::new(kind) else { return };
        host.world.emulator.inject(Fault::times(1, Scope::Get, challenge()));
        assert_eq!(host.get(&[]).ok(), "s3cret", "{kind:?}");
        let asked = host.world.emulator.requests();
        let told = asked.iter().filter(|it| it.is_token() && it.query.contains("claims"));
        assert_eq!(told.count(), 0, "{kind:?}");
        let times = if kind == Kind::Arc { 4 } else { 2 };
        assert_eq!(asked.iter().filter(|it| it.is_token()).count(), times, "{kind:?}");
        let (mounted, _) = host.mount("check=off,open-timeout=2s");
        host.world.emulator.inject(Fault::always(Scope::Get, challenge()));
        assert_eq!(mounted.outcome("ftpadmin"), Err(Errno::ACCESS), "{kind:?}");
    });
}
