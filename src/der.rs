//! DER, read one element at a time. What is not DER, and what is longer than there are bytes, ends
//! the reading.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const SEQUENCE: u8 = 0x30;
    /// `[0]` around whole elements, or, as an octet string's own tag, without what is around it.
    pub(crate) const CONTEXT_0: u8 = 0xa0;
    pub(crate) const IMPLICIT_0: u8 = 0x80;

    /// Reads these bytes.
    pub(crate) const fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    /// Whether everything was read.
    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element's tag.
    pub(crate) fn tag(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and what is in it.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let digits = usize::from(first & 0x7f);
            let (length, rest) = rest.split_at_checked(digits)?;
            // 0x80 alone is a length that is told by an end: BER, and not DER.
            if !(1..=3).contains(&digits) {
                return None;
            }
            (length.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What is in the next element, if it has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    /// The elements within the next one, if it has this tag.
    pub(crate) fn within(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// A small number that is not negative.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let digits = self.take(Self::INTEGER)?;
        let positive = digits.first().is_some_and(|first| *first < 0x80);
        (positive && digits.len() <= 4)
            .then(|| digits.iter().fold(0, |sum, &digit| sum << 8 | u32::from(digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_whole_or_not_at_all() {
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[7; 256], &[0x02, 0x01, 0x05]].concat();
        let mut reader = Reader::new(&long);
        assert_eq!(reader.tag(), Some(Reader::OCTET_STRING));
        assert_eq!(reader.take(Reader::OCTET_STRING), Some(&[7; 256][..]));
        assert_eq!(reader.number(), Some(5));
        assert!(reader.is_empty() && reader.any().is_none());
        for bad in [
            &[0x30][..],
            &[0x30, 0x01],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81],
            &[0x30, 0x84, 0, 0, 0, 0],
            &[0x30, 0x83, 0xff, 0xff, 0xff, 0],
        ] {
            assert!(Reader::new(bad).any().is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_number_is_small_and_not_negative() {
        for (der, number) in [
            (&[2, 1, 0][..], Some(0)),
            (&[2, 2, 0x08, 0x00], Some(2048)),
            (&[2, 4, 0x7f, 0xff, 0xff, 0xff], Some(0x7fff_ffff)),
            (&[2, 1, 0x80], None),
            (&[2, 0], None),
            (&[2, 5, 0, 0, 0, 0, 1], None),
            (&[4, 1, 1], None),
        ] {
            assert_eq!(Reader::new(der).number(), number, "{der:?}");
        }
    }
}
