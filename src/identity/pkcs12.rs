//! PKCS#12: the file in which Windows, macOS and Key Vault hand out a certificate with its key.
//!
//! RFC 7292 leaves much open; what is read here is what these three and OpenSSL write: one password
//! for all of it, an integrity check by HMAC, keys and certificates locked with AES, triple DES or
//! RC2, in DER. Everything that is unlocked on the way is wiped.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::der::Reader;
use crate::identity::unlock;
use crate::identity::unlock::Locked;
use crate::identity::unlock::Use;
use crate::model::secret::SecretBytes;

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Keys, as PKCS#8.
    pub(crate) keys: Vec<SecretBytes>,
    /// Certificates, as DER.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// Reads a file. `None` if it is none, or another than is read here.
pub(crate) fn read(file: &[u8], password: &SecretBytes) -> Result<Content, Locked> {
    let mut pfx = Reader::new(file).within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    pfx.number().filter(|version| *version == 3).ok_or(Locked::Misshapen)?;
    let safes = data(pfx.within(Reader::SEQUENCE)).ok_or(Locked::Misshapen)?;
    // An empty password is spelled in two ways, and only trying tells which.
    let mut spellings = vec![unlock::utf16(password.expose()).ok_or(Locked::Password)?];
    if password.expose().is_empty() {
        spellings.push(Zeroizing::new(Vec::new()));
    }
    let mut told = Locked::Password;
    for spelling in spellings {
        let key = Key { plain: password.expose(), utf16: &spelling };
        match authentic(pfx, safes, &key).and_then(|()| open(safes, &key)) {
            Ok(content) => return Ok(content),
            Err(why) => told = why,
        }
    }
    Err(told)
}

/// One password in both spellings.
struct Key<'a> {
    plain: &'a [u8],
    utf16: &'a [u8],
}

/// Checks what the file says of its own integrity, if it says anything: a wrong password is told
/// from a damaged file by nothing else.
fn authentic(mut pfx: Reader<'_>, safes: &[u8], key: &Key<'_>) -> Result<(), Locked> {
    if pfx.is_empty() {
        return Ok(());
    }
    let mut mac = pfx.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let mut told = mac.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let mut algorithm = told.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let (hash, code) = match algorithm.take(Reader::OID).ok_or(Locked::Misshapen)? {
        SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
        SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
        SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Locked::Unknown),
    };
    let expected = told.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    let salt = mac.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    let rounds = if mac.is_empty() { Some(1) } else { mac.number() };
    let rounds = unlock::sane(rounds).ok_or(Locked::Misshapen)?;
    let length = hash.output_len();
    let key = unlock::derive(hash, key.utf16, salt, rounds, Use::Integrity, length);
    let tag = hmac::sign(&hmac::Key::new(code, &key), safes);
    verify_slices_are_equal(tag.as_ref(), expected).map_err(|_| Locked::Password)
}

fn open(safes: &[u8], key: &Key<'_>) -> Result<Content, Locked> {
    let mut content = Content::default();
    let mut safes = Reader::new(safes).within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    while !safes.is_empty() {
        let mut safe = safes.within(Reader::SEQUENCE);
        let kind = safe.as_mut().and_then(|safe| safe.take(Reader::OID));
        let inner = safe.and_then(|mut safe| safe.within(Reader::CONTEXT_0));
        let mut inner = inner.ok_or(Locked::Misshapen)?;
        match kind {
            Some(DATA) => {
                let bags = inner.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
                unpack(bags, key, &mut content)?;
            }
            Some(ENCRYPTED) => {
                let bags = encrypted(inner).ok_or(Locked::Misshapen)?;
                let bags = unlock::open(bags.0, bags.1, key.plain, key.utf16)?;
                unpack(&bags, key, &mut content)?;
            }
            _ => return Err(Locked::Unknown),
        }
    }
    Ok(content)
}

/// What was encrypted how, in PKCS#7's words.
fn encrypted(mut inner: Reader<'_>) -> Option<(Reader<'_>, &[u8])> {
    let mut data = inner.within(Reader::SEQUENCE)?;
    data.number()?;
    let mut info = data.within(Reader::SEQUENCE)?;
    info.take(Reader::OID)?;
    let algorithm = info.within(Reader::SEQUENCE)?;
    Some((algorithm, info.take(Reader::IMPLICIT_0)?))
}

fn unpack(bags: &[u8], key: &Key<'_>, content: &mut Content) -> Result<(), Locked> {
    let mut bags = Reader::new(bags).within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    while !bags.is_empty() {
        let mut bag = bags.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
        let kind = bag.take(Reader::OID).ok_or(Locked::Misshapen)?;
        let value = bag.take(Reader::CONTEXT_0).ok_or(Locked::Misshapen)?;
        match kind {
            KEY_BAG => content.keys.push(SecretBytes::new(value.to_vec())),
            LOCKED_KEY_BAG => {
                let key = unlock::private_key(value, key.plain, key.utf16)?;
                content.keys.push(key);
            }
            CERTIFICATE_BAG => {
                let certificate = certificate(value).ok_or(Locked::Misshapen)?;
                content.certificates.push(certificate.to_vec());
            }
            // Lists of revoked certificates, and what anybody may put there.
            _ => {}
        }
    }
    Ok(())
}

fn certificate(bag: &[u8]) -> Option<&[u8]> {
    let mut bag = Reader::new(bag).within(Reader::SEQUENCE)?;
    bag.take(Reader::OID).filter(|kind| *kind == X509)?;
    bag.within(Reader::CONTEXT_0)?.take(Reader::OCTET_STRING)
}

fn data(info: Option<Reader<'_>>) -> Option<&[u8]> {
    let mut info = info?;
    info.take(Reader::OID).filter(|kind| *kind == DATA)?;
    info.within(Reader::CONTEXT_0)?.take(Reader::OCTET_STRING)
}

/// 1.2.840.113549.1.7.1 and .6: PKCS#7 data and encryptedData.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// 1.2.840.113549.1.12.10.1.1, .2 and .3.
const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01];
const LOCKED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
/// 1.2.840.113549.1.9.22.1.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.3.14.3.2.26, and 2.16.840.1.101.3.4.2.1, .2 and .3.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
