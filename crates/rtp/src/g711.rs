//! G.711: A-law and mu-law samples against 16-bit linear ones (ITU-T G.711, tables 1 and 2).
//!
//! Decoding reads a table that the compiler computed. Encoding finds the segment by counting leading
//! zeros, which is as fast and needs no 64-kilobyte table in the cache.

/// A-law to linear, at the scale of 16 bits.
pub const ALAW: [i16; 256] = table(Law::A);

/// Mu-law to linear, at the scale of 16 bits.
pub const ULAW: [i16; 256] = table(Law::Mu);

/// What a phone sends when nobody speaks.
pub const ALAW_SILENCE: u8 = 0xd5;
pub const ULAW_SILENCE: u8 = 0xff;

pub fn decode_alaw(sample: u8) -> i16 {
    ALAW[usize::from(sample)]
}

pub fn decode_ulaw(sample: u8) -> i16 {
    ULAW[usize::from(sample)]
}

/// The A-law code of the interval that holds the sample.
pub fn encode_alaw(sample: i16) -> u8 {
    // Thirteen bits with a sign: negative values are mirrored so that -1 lies beside 0.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample) } else { (0, !sample) };
    let magnitude = magnitude as u16 >> 4;
    // Segments 0 and 1 have the same step; from there each is twice as coarse as the one before.
    let segment = (16 - magnitude.leading_zeros()).saturating_sub(4);
    let mantissa = magnitude >> segment.saturating_sub(1);
    // Even bits are inverted on the line.
    (sign | (segment << 4) as u8 | (mantissa & 0x0f) as u8) ^ 0x55
}

/// The mu-law code nearest to the sample.
pub fn encode_ulaw(sample: i16) -> u8 {
    let (sign, magnitude) =
        if sample >= 0 { (0x80, sample as u16) } else { (0, sample.unsigned_abs()) };
    // The bias makes every segment begin at a power of two; what is louder than the last is clipped.
    let biased = magnitude.min(ULAW_CLIP) + ULAW_BIAS;
    let segment = 8 - biased.leading_zeros();
    let mantissa = biased >> (segment + 3) & 0x0f;
    (sign | (!(segment << 4) & 0x70) as u8) | (!mantissa & 0x0f) as u8
}

const ULAW_BIAS: u16 = 132;
const ULAW_CLIP: u16 = 32_635;

#[derive(Clone, Copy)]
enum Law {
    A,
    Mu,
}

const fn table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let (bits, magnitude) = match law {
            Law::A => {
                let bits = code ^ 0x55;
                let (segment, mantissa) = (bits >> 4 & 7, bits & 15);
                // The middle of the interval; the first segment is as fine as the second.
                let value = mantissa << 4 | 8;
                (bits, if segment == 0 { value } else { (value + 256) << (segment - 1) })
            }
            Law::Mu => {
                let bits = !code & 255;
                let (segment, mantissa) = (bits >> 4 & 7, bits & 15);
                // In mu-law a set sign bit on the line means positive, after inversion negative.
                (bits ^ 0x80, ((mantissa << 3 | 132) << segment) - 132)
            }
        };
        table[code] = if bits & 0x80 != 0 { magnitude as i16 } else { -(magnitude as i16) };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_samples() {
        assert_eq!((decode_ulaw(0x00), decode_ulaw(0x80)), (-32_124, 32_124));
        assert_eq!((decode_ulaw(0xff), decode_ulaw(0x7f), decode_ulaw(0xfe)), (0, 0, 8));
        assert_eq!((decode_alaw(0xd5), decode_alaw(0x55)), (8, -8));
        assert_eq!((decode_alaw(0xaa), decode_alaw(0x2a)), (32_256, -32_256));
        assert_eq!((encode_ulaw(0), encode_alaw(0)), (ULAW_SILENCE, ALAW_SILENCE));
        assert_eq!((encode_ulaw(i16::MAX), encode_ulaw(i16::MIN)), (0x80, 0x00));
        assert_eq!((encode_alaw(i16::MAX), encode_alaw(i16::MIN)), (0xaa, 0x2a));
    }

    #[test]
    fn every_code_survives() {
        for code in 0..=255 {
            assert_eq!(encode_alaw(decode_alaw(code)), code, "A-law {code:#x}");
            // Mu-law has two zeros, which sound alike.
            let again = encode_ulaw(decode_ulaw(code));
            assert!(again == code || (code == 0x7f && again == 0xff), "mu-law {code:#x}");
        }
    }

    #[test]
    fn every_sample_gets_a_near_code() {
        for sample in i16::MIN..=i16::MAX {
            let size = i32::from(sample).abs();
            for decoded in [decode_alaw(encode_alaw(sample)), decode_ulaw(encode_ulaw(sample))] {
                let error = (i32::from(decoded) - i32::from(sample)).abs();
                assert!(error <= (size / 16).clamp(16, 644), "{sample} became {decoded}");
            }
        }
    }

    #[test]
    fn louder_is_never_quieter() {
        for sample in i16::MIN..i16::MAX {
            assert!(decode_alaw(encode_alaw(sample)) <= decode_alaw(encode_alaw(sample + 1)));
            assert!(decode_ulaw(encode_ulaw(sample)) <= decode_ulaw(encode_ulaw(sample + 1)));
        }
    }
}
