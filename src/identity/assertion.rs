//! The proof that a service principal has its certificate's key: a JWT that lives for minutes and is
//! good for one authority.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::identity::certificate::BadCertificateFile;
use crate::identity::certificate::Certificate;
use crate::model::secret::SecretBytes;

/// What an assertion says.
#[derive(Debug)]
pub(crate) struct Assertion<'a> {
    /// For whom it is: the address where it is handed in.
    pub(crate) audience: &'a str,
    /// Whose it is.
    pub(crate) client_id: &'a str,
    /// What no other assertion is called.
    pub(crate) id: &'a str,
    /// From when on it holds, in seconds since 1970.
    pub(crate) now: i64,
    /// Whether the certificate goes along, for principals that trust its issuer and name.
    pub(crate) sends_chain: bool,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: &'a str,
    nbf: i64,
    exp: i64,
}

impl Assertion<'_> {
    /// The assertion, signed.
    pub(crate) fn sign(&self, by: &Certificate) -> Result<SecretBytes, BadCertificateFile> {
        let chain = if self.sends_chain { by.chain() } else { &[] };
        let header = Header {
            alg: "PS256",
            typ: "JWT",
            thumbprint: URL_SAFE_NO_PAD.encode(by.thumbprint()),
            x5c: chain.iter().map(|certificate| STANDARD.encode(certificate)).collect(),
        };
        let claims = Claims {
            aud: self.audience,
            iss: self.client_id,
            sub: self.client_id,
            jti: self.id,
            nbf: self.now,
            exp: self.now + LIFE,
        };
        let mut text = Zeroizing::new(format!("{}.{}", part(&header), part(&claims)));
        let key = by.pair()?;
        let mut signature = Zeroizing::new(vec![0; key.public_modulus_len()]);
        key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| BadCertificateFile::NotRsa)?;
        // Without the signature, what is left behind by a text that grows proves nothing.
        text.reserve_exact(1 + signature.len() * 4 / 3 + 4);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&*signature, &mut text);
        Ok(SecretBytes::new(std::mem::take(&mut *text).into_bytes()))
    }
}

fn part(value: &impl Serialize) -> String {
    // Texts and numbers alone: there is nothing in them that JSON cannot say.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

/// For how many seconds it holds.
const LIFE: i64 = 600;

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;
    use aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;
    use aws_lc_rs::signature::UnparsedPublicKey;
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn taken_apart(token: &SecretBytes) -> (Value, Value, String, Vec<u8>) {
        let text = str::from_utf8(token.expose()).unwrap();
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let read =
            |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        (read(header), read(claims), signed.to_owned(), signature)
    }

    fn assertion(sends_chain: bool) -> Assertion<'static> {
        Assertion {
            audience: "https://login.example/tenant/oauth2/v2.0/token",
            client_id: "c1",
            id: "j1",
            now: 1_700_000_000,
            sends_chain,
        }
    }

    #[test]
    fn an_assertion_says_who_for_whom_until_when_and_is_signed() {
        let principal = Certificate::example();
        let (header, claims, signed, signature) =
            taken_apart(&assertion(false).sign(&principal).unwrap());
        assert_eq!(
            header,
            json!({
                "alg": "PS256",
                "typ": "JWT",
                "x5t#S256": URL_SAFE_NO_PAD.encode(principal.thumbprint()),
            })
        );
        assert_eq!(
            claims,
            json!({
                "aud": "https://login.example/tenant/oauth2/v2.0/token",
                "iss": "c1",
                "sub": "c1",
                "jti": "j1",
                "nbf": 1_700_000_000,
                "exp": 1_700_000_600,
            })
        );
        let pair = principal.pair().unwrap();
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn the_chain_goes_along_where_it_is_wanted() {
        let principal = Certificate::example();
        let (header, ..) = taken_apart(&assertion(true).sign(&principal).unwrap());
        let chain: Vec<String> = principal.chain().iter().map(|der| STANDARD.encode(der)).collect();
        assert_eq!(chain.len(), 2);
        assert_eq!(header["x5c"], json!(chain));
    }
}
