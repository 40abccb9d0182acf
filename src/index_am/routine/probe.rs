//! The arguments of a scan, in clear: opened, or rather never sealed.
//!
//! nbtree hands the argument of a scan key to the comparison as it is. What it gets is a probe: a bytea that
//! names one of this backend's. A key that somebody put into a file cannot pass for one, since it would have
//! to say a random number that this process drew.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum, Oid};
use sealed_crypto::KernelRng;

use super::column::{Column, Kind, Order};
use super::place::Known;
use crate::error::Error;
use crate::pg::ffi;
use crate::pg::local::backend_local;
use crate::pg::tuple::varlena;

/// Length word 4, head 4 of a format that no sealed value has, token 16, number 8.
const LEN: usize = 32;

/// The argument of one scan key.
pub struct Probe {
    /// The bytea that stands for it.
    this: [u64; LEN / 8],
    /// What `value` points to, unless it is passed by value.
    buffer: Vec<u64>,
    /// The argument.
    pub value: Datum,
    /// What it is compared with.
    pub column: *const Column,
    /// Its type.
    pub argument: Rc<Argument>,
    /// What its condition is known to be by where an entry lies.
    pub known: Cell<Known>,
}

/// The type of the arguments of a scan key.
pub struct Argument {
    kind: Kind,
    /// It, where it is not the operator class's.
    pub other: Option<Oid>,
    /// Compares a value of the column with one of it, where it is another.
    pub order: Option<Order>,
    /// Compares two of it, once that was asked for.
    own: OnceCell<Order>,
    memory: pg_sys::MemoryContext,
}

impl Argument {
    /// `subtype`: as scan keys have it. What its comparisons keep lives in `memory`, longer than the scan.
    pub unsafe fn of(
        column: &Column,
        subtype: Oid,
        memory: pg_sys::MemoryContext,
    ) -> Result<Rc<Self>, Error> {
        let other = (subtype != Oid::INVALID && subtype != column.input).then_some(subtype);
        // SAFETY: system cache look-ups.
        unsafe {
            let kind = match other {
                Some(other) => Kind::of(other),
                None => column.kind,
            };
            let order = match other {
                Some(other) => Some(column.order_with(column.input, other, memory)?),
                None => None,
            };
            Ok(Rc::new(Self { kind, other, order, own: OnceCell::new(), memory }))
        }
    }

    /// How two of them are compared.
    pub unsafe fn own<'a>(&'a self, column: &'a Column) -> Result<&'a Order, Error> {
        let Some(other) = self.other else { return Ok(&column.order) };
        if self.own.get().is_none() {
            // SAFETY: system cache look-ups.
            let order = unsafe { column.order_with(other, other, self.memory)? };
            return Ok(self.own.get_or_init(|| order));
        }
        Ok(self.own.get().unwrap_or(&column.order))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        super::value::wipe(&mut self.buffer);
    }
}

#[derive(Default)]
struct Probes {
    token: Option<[u8; 16]>,
    all: Vec<Option<Box<Probe>>>,
    free: Vec<usize>,
}

backend_local! {
    static PROBES: RefCell<Probes> = RefCell::default();
}

/// A probe that is dropped with this.
pub struct Held(usize);

impl Held {
    /// The probe. Good as long as this is held.
    pub fn probe(&self) -> *const Probe {
        PROBES.with_borrow(|probes| {
            probes.all[self.0].as_ref().map_or(std::ptr::null(), |probe| &raw const **probe)
        })
    }

    /// What stands for it. Good as long as this is held.
    pub fn datum(&self) -> Datum {
        let this = PROBES
            .with_borrow(|probes| probes.all[self.0].as_ref().map(|probe| probe.this.as_ptr()));
        Datum::from(this.unwrap_or(std::ptr::null()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        PROBES.with(|probes| {
            if let Ok(mut probes) = probes.try_borrow_mut() {
                probes.all[self.0] = None;
                probes.free.push(self.0);
            }
        });
    }
}

/// Makes a probe of an argument that is not NULL.
pub unsafe fn hold(column: &Column, argument: &Rc<Argument>, value: Datum) -> Result<Held, Error> {
    // SAFETY: the argument is of that type; it is copied, since it may not live as long as the scan.
    unsafe {
        let mut buffer = Vec::new();
        let value = copy(argument.kind, value, &mut buffer);
        let token = token()?;
        let argument = Rc::clone(argument);
        let (this, known) = ([0; LEN / 8], Cell::new(Known::Nothing));
        let probe = Box::new(Probe { this, buffer, value, column, argument, known });
        Ok(PROBES.with_borrow_mut(|probes| {
            let number = probes.free.pop().unwrap_or_else(|| {
                probes.all.push(None);
                probes.all.len() - 1
            });
            let probe = probes.all[number].insert(probe);
            let this = probe.this.as_mut_ptr().cast::<u8>();
            varlena::set_size(this, LEN);
            std::ptr::copy_nonoverlapping(token.as_ptr(), this.add(8), 16);
            this.add(24).cast::<u64>().write(number as u64);
            Held(number)
        }))
    }
}

fn token() -> Result<[u8; 16], Error> {
    PROBES.with_borrow_mut(|probes| match probes.token {
        Some(token) => Ok(token),
        None => {
            let mut token = [0; 16];
            KernelRng::fill(&mut token)?;
            Ok(*probes.token.insert(token))
        }
    })
}

unsafe fn copy(kind: Kind, value: Datum, buffer: &mut Vec<u64>) -> Datum {
    // SAFETY: a value of the type; the buffer gets as many bytes as it has.
    unsafe {
        if kind.by_val {
            let n = value.value() as i64;
            return Datum::from(match kind.len {
                1 => n as i8 as i64,
                2 => n as i16 as i64,
                4 => n as i32 as i64,
                _ => n,
            } as usize);
        }
        let from = value.cast_mut_ptr::<u8>();
        let (from, len) = match kind.len {
            -1 => {
                let plain = ffi::pg_detoast_datum_packed(from.cast()).cast::<u8>();
                let short = varlena::is_short(plain);
                (plain, if short { varlena::size_short(plain) } else { varlena::size(plain) })
            }
            -2 => (from, std::ffi::CStr::from_ptr(from.cast()).count_bytes() + 1),
            fixed => (from, fixed as usize),
        };
        buffer.resize(len.div_ceil(8), 0);
        std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr().cast::<u8>(), len);
        Datum::from(buffer.as_ptr())
    }
}

/// The probe that a bytea stands for, if it is one.
#[inline]
pub fn find(bytes: &[u8]) -> Option<*const Probe> {
    if bytes.len() != LEN - 4 || bytes.first_chunk() != Some(&[0; 4]) {
        return None;
    }
    // As numbers, not as slices that a call compares.
    let token: &[u8; 16] = bytes.get(4..20)?.first_chunk()?;
    let number = u64::from_ne_bytes(*bytes.get(20..28)?.first_chunk()?);
    PROBES.with_borrow(|probes| {
        if probes.token.as_ref() != Some(token) {
            return None;
        }
        let probe = probes.all.get(usize::try_from(number).ok()?)?;
        probe.as_ref().map(|probe| &raw const **probe)
    })
}
