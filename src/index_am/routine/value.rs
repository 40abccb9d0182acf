//! Values of a type, sealed as they stand in an index, and opened.

use std::ffi::c_char;

use pgrx::pg_sys::{self, Datum};

use super::column::{Column, Kind};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::ffi;
use crate::pg::tuple::varlena;

/// `TOAST_INDEX_TARGET` of `access/heaptoast.h`: above it an index compresses.
const COMPRESS_ABOVE: usize = (pg_sys::BLCKSZ as usize - 32) / 16;
/// What is behind the first byte of a long value: its bytes.
const BYTES: u8 = 0;
/// The same: a varlena that PostgreSQL has compressed, without its length word.
const COMPRESSED: u8 = 1;
const HEADER: usize = varlena::VARHDRSZ;

/// Seals a value that is not NULL: a bytea, in memory of the column until the next one is sealed.
pub unsafe fn seal(column: &Column, value: Datum) -> Result<Datum, Error> {
    let kind = column.kind;
    // SAFETY: the value is one of the column's type; what is palloc'd belongs to the current context.
    unsafe {
        if kind.by_val {
            let mut bytes = [0; 8];
            let len = kind.len as usize;
            bytes[..len].copy_from_slice(&value.value().to_le_bytes()[..len]);
            let sealed = short(column, bytes)?;
            // It is compared next: by an insertion with many keys, in a build as its abbreviated key.
            let mut last = column.last.borrow_mut();
            last.sealed.clear();
            last.sealed.extend_from_slice(data(sealed.cast_mut_ptr()));
            last.value = widened(kind, bytes).value();
            return Ok(sealed);
        }
        if kind.len > 0 {
            let bytes = std::slice::from_raw_parts(value.cast_mut_ptr::<u8>(), kind.len as usize);
            if bytes.len() <= 8 {
                let mut block = [0; 8];
                block[..bytes.len()].copy_from_slice(bytes);
                return short(column, block);
            }
            return long(column, BYTES, bytes);
        }
        if kind.len == -2 {
            let text = std::ffi::CStr::from_ptr(value.cast_mut_ptr());
            return long(column, BYTES, text.to_bytes_with_nul());
        }
        let at = value.cast_mut_ptr::<u8>();
        if !varlena::is_external(at) && !varlena::is_compressed(at) {
            return varlena_value(column, at);
        }
        let plain = ffi::pg_detoast_datum_packed(at.cast());
        let sealed = varlena_value(column, plain.cast());
        pg_sys::pfree(plain.cast());
        sealed
    }
}

unsafe fn varlena_value(column: &Column, plain: *const u8) -> Result<Datum, Error> {
    // SAFETY: a varlena that is neither outside nor compressed.
    unsafe {
        let data = data(plain);
        let len = data.len();
        if len <= 7 {
            let mut block = [0; 8];
            block[..len].copy_from_slice(data);
            block[7] = len as u8;
            return short(column, block);
        }
        if data.len() > COMPRESS_ABOVE && column.kind.compress {
            let packed = ffi::toast_compress_datum(Datum::from(plain), 0 as c_char);
            if !packed.is_null() {
                let packed_at = packed.cast_mut_ptr::<u8>();
                let rest = varlena::size(packed_at) - HEADER;
                let bytes = std::slice::from_raw_parts(packed_at.add(HEADER), rest);
                let sealed = long(column, COMPRESSED, bytes);
                pg_sys::pfree(packed_at.cast());
                return sealed;
            }
        }
        long(column, BYTES, data)
    }
}

fn short(column: &Column, value: [u8; 8]) -> Result<Datum, Error> {
    let sealed = key::seal_short(column.table, column.number, column.how.get(), value)?;
    let mut room = column.sealed.borrow_mut();
    // SAFETY: the room is borrowed as long as the payload is used.
    let (made, payload) = unsafe { bytea(&mut room, sealed.len()) };
    payload.copy_from_slice(&sealed);
    Ok(made)
}

/// A bytea of so many bytes, whatever they are.
unsafe fn bytea<'a>(room: &mut Vec<u64>, len: usize) -> (Datum, &'a mut [u8]) {
    let size = HEADER + len;
    // SAFETY: so many bytes. In an entry that is larger than a page they are refused, and go with the context.
    unsafe {
        let at = if size <= pg_sys::BLCKSZ as usize {
            room.resize(size.div_ceil(8), 0);
            room.as_mut_ptr().cast()
        } else {
            pg_sys::palloc0(size).cast::<u8>()
        };
        varlena::set_size(at, size);
        (Datum::from(at), std::slice::from_raw_parts_mut(at.add(HEADER), len))
    }
}

fn long(column: &Column, first: u8, bytes: &[u8]) -> Result<Datum, Error> {
    let how = column.how.get();
    let room = how.room();
    let mut sealed = column.sealed.borrow_mut();
    // SAFETY: the room is borrowed as long as the payload is used.
    let (made, payload) = unsafe { bytea(&mut sealed, room + 1 + bytes.len()) };
    let (_, plain) = payload.split_at_mut(room);
    if let Some((front, rest)) = plain.split_first_mut() {
        *front = first;
        rest.copy_from_slice(bytes);
    }
    key::seal_long(column.table, column.number, how, payload)?;
    Ok(made)
}

/// The bytes of a varlena that is neither outside nor compressed.
#[inline]
pub unsafe fn data<'a>(at: *const u8) -> &'a [u8] {
    // SAFETY: the caller's promise; the header says how long it is.
    unsafe {
        if varlena::is_short(at) {
            std::slice::from_raw_parts(at.add(1), varlena::size_short(at) - 1)
        } else {
            std::slice::from_raw_parts(at.add(HEADER), varlena::size(at) - HEADER)
        }
    }
}

/// Opens a sealed value that is passed by value with what is at hand; `None` says to ask `open`.
#[inline]
pub fn open_near(column: &Column, sealed: &[u8]) -> Option<Datum> {
    let block = key::open_short_near(column.table, column.number, sealed)?;
    by_value(column.kind, block)
}

/// Opens a sealed value. What is not passed by value is put into `buffer`.
#[inline]
pub unsafe fn open(column: &Column, sealed: &[u8], buffer: &mut Vec<u64>) -> Result<Datum, Error> {
    let damaged = || key::damaged(column.table);
    let (table, number, kind) = (column.table, column.number, column.kind);
    match sealed_crypto::plain_len(sealed).map_err(|_| damaged())? {
        sealed_crypto::Plain::Short => {
            let block = key::open_short(table, number, sealed)?;
            restore_short(kind, block, buffer).ok_or_else(damaged)
        }
        sealed_crypto::Plain::Long(len) => {
            // So that what follows the first byte is aligned as the type wants it, a length word in front of it.
            let front = if kind.len == -1 { HEADER } else { 8 };
            buffer.resize((front - 1 + len).div_ceil(8) + 1, 0);
            let at = buffer.as_mut_ptr().cast::<u8>();
            // SAFETY: the buffer has at least so many bytes, and nobody else has it.
            let room = unsafe { std::slice::from_raw_parts_mut(at.add(front - 1), len) };
            key::open_long(table, number, sealed, room)?;
            let first = *room.first().ok_or_else(damaged)?;
            let len = len - 1;
            let fits = match kind.len {
                -1 => !kind.by_val,
                -2 => room.last() == Some(&0),
                fixed => fixed > 8 && len == fixed as usize && !kind.by_val,
            };
            if !fits || first > COMPRESSED || first == COMPRESSED && kind.len != -1 {
                return Err(damaged());
            }
            // SAFETY: as above; the four bytes in front of a varlena are the buffer's.
            unsafe {
                if kind.len == -1 {
                    varlena::set_size(at, HEADER + len);
                    if first == COMPRESSED {
                        // `SET_VARSIZE_COMPRESSED`.
                        *at |= 2;
                    }
                    return Ok(Datum::from(at));
                }
                Ok(Datum::from(at.add(front)))
            }
        }
    }
}

/// The value of a type that is passed by value, if behind its bytes there is nothing.
#[inline]
fn by_value(kind: Kind, block: [u8; 8]) -> Option<Datum> {
    let whole = u64::from_le_bytes(block);
    let there = u64::MAX >> (64 - 8 * kind.len as u32);
    (whole & !there == 0).then(|| widened(kind, block))
}

fn restore_short(kind: Kind, block: [u8; 8], buffer: &mut Vec<u64>) -> Option<Datum> {
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if kind.by_val {
        return by_value(kind, block);
    }
    buffer.resize(2, 0);
    let at = buffer.as_mut_ptr().cast::<u8>();
    let (len, front) = match kind.len {
        -1 => (usize::from(block[7]), HEADER),
        len @ 1..=8 => (len as usize, 0),
        _ => return None,
    };
    let (value, rest) = block.split_at_checked(len)?;
    let rest = if kind.len == -1 { rest.get(..7 - len.min(7))? } else { rest };
    if !zero(rest) || kind.len == -1 && len > 7 {
        return None;
    }
    // SAFETY: the buffer has 16 bytes; at most 4 and 8 are written.
    unsafe {
        if kind.len == -1 {
            varlena::set_size(at, HEADER + len);
        }
        std::ptr::copy_nonoverlapping(value.as_ptr(), at.add(front), len);
    }
    Some(Datum::from(at))
}

/// A value that is passed by value, as `fetch_att` widens it.
fn widened(kind: Kind, block: [u8; 8]) -> Datum {
    let n = i64::from_le_bytes(block);
    Datum::from(match kind.len {
        1 => n as i8 as i64,
        2 => n as i16 as i64,
        4 => n as i32 as i64,
        _ => n,
    } as usize)
}

/// The words that an opened value has, which begins where `buffer` does.
pub fn words(kind: Kind, buffer: &[u64]) -> &[u64] {
    let at = buffer.as_ptr().cast::<u8>();
    // SAFETY: `open` put it there; a varlena has four bytes that say its length, another ends with a zero byte.
    let len = unsafe {
        match kind.len {
            -1 => varlena::size(at),
            -2 => std::ffi::CStr::from_ptr(at.cast()).count_bytes() + 1,
            len => len as usize,
        }
    };
    buffer.get(..len.div_ceil(8)).unwrap_or(buffer)
}

/// Overwrites what was opened.
pub fn wipe(buffer: &mut Vec<u64>) {
    buffer.fill(0);
    std::hint::black_box(&buffer);
    buffer.clear();
}
