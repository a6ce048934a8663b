//! What a password locks: PKCS#8 keys and the insides of PKCS#12 files.
//!
//! PBES2 with AES (RFC 8018), and the older ways of RFC 7292 with triple DES and RC2, which most
//! files out there still are. These protect nothing on the wire here: they only open a file that
//! its owner has handed over.

use std::num::NonZeroU32;

use aws_lc_rs::cipher;
use aws_lc_rs::digest;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use cbc::cipher::BlockModeDecrypt;
use cbc::cipher::KeyIvInit;
use cbc::cipher::block_padding::Pkcs7;
use zeroize::Zeroizing;

use crate::der::Reader;
use crate::model::secret::SecretBytes;

/// Why something stays locked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Locked {
    /// It is not of the shape that it should have.
    Misshapen,
    /// It is locked in a way that is not known here.
    Unknown,
    /// The password does not open it.
    Password,
}

/// What is derived from a password, by the numbers of RFC 7292.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Key = 1,
    Vector = 2,
    Integrity = 3,
}

type Secret = Zeroizing<Vec<u8>>;

/// The PKCS#8 key in an `EncryptedPrivateKeyInfo`.
pub(crate) fn private_key(
    der: &[u8],
    password: &[u8],
    utf16: &[u8],
) -> Result<SecretBytes, Locked> {
    let mut info = Reader::new(der).within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let algorithm = info.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let locked = info.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    let mut key = open(algorithm, locked, password, utf16)?;
    Ok(SecretBytes::new(std::mem::take(&mut *key)))
}

/// What was locked by an algorithm, as an `AlgorithmIdentifier` names it. The newer ways take the
/// password as it is, the older ones in UTF-16.
pub(crate) fn open(
    mut algorithm: Reader<'_>,
    locked: &[u8],
    password: &[u8],
    utf16: &[u8],
) -> Result<Secret, Locked> {
    let kind = algorithm.take(Reader::OID).ok_or(Locked::Misshapen)?;
    if kind == PBES2 {
        return pbes2(algorithm, locked, password);
    }
    let (&way, family) = kind.split_last().ok_or(Locked::Misshapen)?;
    if family != PKCS12_PBE {
        return Err(Locked::Unknown);
    }
    let mut parameters = algorithm.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let salt = parameters.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    let rounds = sane(parameters.number()).ok_or(Locked::Misshapen)?;
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let made = |what, length| derive(sha1, utf16, salt, rounds, what, length);
    let iv = made(Use::Vector, 8);
    match way {
        3 => decrypt::<des::TdesEde3>(&made(Use::Key, 24), &iv, locked),
        4 => decrypt::<des::TdesEde2>(&made(Use::Key, 16), &iv, locked),
        5 => decrypt::<rc2::Rc2>(&made(Use::Key, 16), &iv, locked),
        6 => decrypt::<rc2::Rc2>(&made(Use::Key, 5), &iv, locked),
        _ => Err(Locked::Unknown),
    }
}

/// A password in UTF-16 with a zero at its end, as RFC 7292 wants it; `None` if it is no text.
pub(crate) fn utf16(password: &[u8]) -> Option<Secret> {
    let text = str::from_utf8(password).ok()?;
    // A character is never longer than twice its UTF-8.
    let mut spelled = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    for unit in text.encode_utf16().chain([0]) {
        spelled.extend_from_slice(&unit.to_be_bytes());
    }
    Some(spelled)
}

/// The number of rounds, unless somebody wants this machine busy for the afternoon.
pub(crate) fn sane(rounds: Option<u32>) -> Option<NonZeroU32> {
    rounds.filter(|rounds| *rounds <= MOST_ROUNDS).and_then(NonZeroU32::new)
}

/// RFC 7292, appendix B.2.
pub(crate) fn derive(
    hash: &'static digest::Algorithm,
    password: &[u8],
    salt: &[u8],
    rounds: NonZeroU32,
    what: Use,
    length: usize,
) -> Secret {
    let block = hash.block_len();
    let filled = |text: &[u8]| {
        let length = text.len().div_ceil(block) * block;
        text.iter().copied().cycle().take(length).collect::<Vec<u8>>()
    };
    let mut input = Zeroizing::new(filled(salt));
    input.reserve_exact(password.len() + block);
    input.extend_from_slice(&Zeroizing::new(filled(password)));
    let mut made = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    while made.len() < length {
        let mut context = digest::Context::new(hash);
        context.update(&vec![what as u8; block]);
        context.update(&input);
        let mut word = context.finish();
        for _ in 1..rounds.get() {
            word = digest::digest(hash, word.as_ref());
        }
        made.extend_from_slice(word.as_ref());
        for part in input.chunks_mut(block) {
            add_one_and(part, word.as_ref());
        }
    }
    made.truncate(length);
    made
}

/// Adds one and a number that is repeated over the whole length, both big-endian.
fn add_one_and(part: &mut [u8], word: &[u8]) {
    let repeated: Vec<u8> = word.iter().copied().cycle().take(part.len()).collect();
    let mut carry = 1;
    for (digit, other) in part.iter_mut().rev().zip(repeated.iter().rev()) {
        let sum = u16::from(*digit) + u16::from(*other) + carry;
        let [high, low] = sum.to_be_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}

fn pbes2(mut algorithm: Reader<'_>, locked: &[u8], password: &[u8]) -> Result<Secret, Locked> {
    let mut parameters = algorithm.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let derivation = parameters.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let mut scheme = parameters.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let kind = scheme.take(Reader::OID).ok_or(Locked::Misshapen)?;
    let iv = scheme.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    if kind == DES_EDE3 {
        return decrypt::<des::TdesEde3>(&stretch(derivation, password, 24)?, iv, locked);
    }
    let (cipher, length) = match kind {
        AES_128 => (&cipher::AES_128, 16),
        AES_192 => (&cipher::AES_192, 24),
        AES_256 => (&cipher::AES_256, 32),
        _ => return Err(Locked::Unknown),
    };
    let key = stretch(derivation, password, length)?;
    let iv = FixedLength::try_from(iv).map_err(|_| Locked::Misshapen)?;
    let key = cipher::UnboundCipherKey::new(cipher, &key);
    let key = key.and_then(cipher::PaddedBlockDecryptingKey::cbc_pkcs7);
    let key = key.map_err(|_| Locked::Misshapen)?;
    let mut text = Zeroizing::new(locked.to_vec());
    let opened = key.decrypt(&mut text, cipher::DecryptionContext::Iv128(iv));
    let length = opened.map_err(|_| Locked::Password)?.len();
    text.truncate(length);
    Ok(text)
}

/// The key that PBKDF2 makes of a password.
fn stretch(mut derivation: Reader<'_>, password: &[u8], length: usize) -> Result<Secret, Locked> {
    if derivation.take(Reader::OID) != Some(PBKDF2) {
        return Err(Locked::Unknown);
    }
    let mut parameters = derivation.within(Reader::SEQUENCE).ok_or(Locked::Misshapen)?;
    let salt = parameters.take(Reader::OCTET_STRING).ok_or(Locked::Misshapen)?;
    let rounds = sane(parameters.number()).ok_or(Locked::Misshapen)?;
    if parameters.tag() == Some(Reader::INTEGER) {
        parameters.number();
    }
    let hash = match parameters.within(Reader::SEQUENCE).and_then(|mut hash| hash.take(Reader::OID))
    {
        None | Some(HMAC_SHA1) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(HMAC_SHA256) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some(HMAC_SHA384) => pbkdf2::PBKDF2_HMAC_SHA384,
        Some(HMAC_SHA512) => pbkdf2::PBKDF2_HMAC_SHA512,
        Some(_) => return Err(Locked::Unknown),
    };
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(hash, rounds, salt, password, &mut key);
    Ok(key)
}

fn decrypt<C>(key: &[u8], iv: &[u8], locked: &[u8]) -> Result<Secret, Locked>
where
    cbc::Decryptor<C>: KeyIvInit + BlockModeDecrypt,
    C: cbc::cipher::BlockCipherDecrypt,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| Locked::Misshapen)?;
    let mut text = Zeroizing::new(locked.to_vec());
    let opened = cipher.decrypt_padded::<Pkcs7>(&mut text);
    let length = opened.map_err(|_| Locked::Password)?.len();
    text.truncate(length);
    Ok(text)
}

/// OpenSSL's default is 2,048, the highest advice for PBKDF2 is 1,300,000.
const MOST_ROUNDS: u32 = 10_000_000;

/// 1.2.840.113549.1.12.1, below which the older ways are numbered.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
/// 1.2.840.113549.1.5.13 and .12.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// 1.2.840.113549.2.7, .9, .10 and .11.
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const HMAC_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0a];
const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b];
/// 1.2.840.113549.3.7, and 2.16.840.1.101.3.4.1.2, .22 and .42, all in CBC mode.
const DES_EDE3: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
const AES_128: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_192: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16];
const AES_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
