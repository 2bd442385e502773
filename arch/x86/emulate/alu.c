// SPDX-License-Identifier: GPL-2.0
/*
 * Integer arithmetic: results and flags as pure functions.
 *
 * Values are zero-extended to 64 bits.  Flags that the manuals leave undefined get what current
 * CPUs give where that is simple, else they stay.
 */
#include "exec.h"

static bool parity_even(u64 res)
{
	u8 b = (u8)res;

	b ^= b >> 4;
	return !(0x6996 >> (b & 0xf) & 1);
}

static void set_flag(u64 *flags, u64 flag, bool on)
{
	*flags = on ? *flags | flag : *flags & ~flag;
}

static void set_szp(u64 res, unsigned int size, u64 *flags)
{
	set_flag(flags, FL_SF, res & sign_bit(size));
	set_flag(flags, FL_ZF, !(res & size_mask(size)));
	set_flag(flags, FL_PF, parity_even(res));
}

void emu_flags_logic(u64 res, unsigned int size, u64 *flags)
{
	*flags &= ~(u64)(FL_CF | FL_OF | FL_AF);
	set_szp(res, size, flags);
}

static u64 do_add(u64 a, u64 b, unsigned int carry, unsigned int size, u64 *flags)
{
	u64 res = (a + b + carry) & size_mask(size);
	u64 carries = (a & b) | ((a | b) & ~res);

	set_flag(flags, FL_CF, carries & sign_bit(size));
	set_flag(flags, FL_AF, carries & 8);
	set_flag(flags, FL_OF, (a ^ res) & (b ^ res) & sign_bit(size));
	set_szp(res, size, flags);
	return res;
}

static u64 do_sub(u64 a, u64 b, unsigned int borrow, unsigned int size, u64 *flags)
{
	u64 res = (a - b - borrow) & size_mask(size);
	u64 borrows = (~a & b) | ((~a | b) & res);

	set_flag(flags, FL_CF, borrows & sign_bit(size));
	set_flag(flags, FL_AF, borrows & 8);
	set_flag(flags, FL_OF, (a ^ b) & (a ^ res) & sign_bit(size));
	set_szp(res, size, flags);
	return res;
}

/**
 * emu_alu - the eight operations of opcodes 00..3F
 * @op: ALU_*; ALU_CMP returns the difference
 * @a: destination
 * @b: source
 * @size: 1, 2, 4 or 8
 * @flags: RFLAGS, changed
 *
 * Return: the result.
 */
u64 emu_alu(unsigned int op, u64 a, u64 b, unsigned int size, u64 *flags)
{
	unsigned int carry = *flags & FL_CF ? 1 : 0;
	u64 res;

	a &= size_mask(size);
	b &= size_mask(size);
	switch (op) {
	case ALU_ADD:
		return do_add(a, b, 0, size, flags);
	case ALU_ADC:
		return do_add(a, b, carry, size, flags);
	case ALU_SBB:
		return do_sub(a, b, carry, size, flags);
	case ALU_OR:
		res = a | b;
		break;
	case ALU_AND:
		res = a & b;
		break;
	case ALU_XOR:
		res = a ^ b;
		break;
	default:
		return do_sub(a, b, 0, size, flags);
	}
	emu_flags_logic(res, size, flags);
	return res;
}

/* INC and DEC leave CF alone. */
u64 emu_incdec(bool dec, u64 a, unsigned int size, u64 *flags)
{
	u64 carry = *flags & FL_CF;
	u64 res;

	res = dec ? do_sub(a, 1, 0, size, flags) : do_add(a, 1, 0, size, flags);
	*flags = (*flags & ~(u64)FL_CF) | carry;
	return res;
}

/*
 * ROL, ROR: CF and OF change only with a count that is not zero, even if it rotates by whole
 * turns.
 */
static u64 rotate(bool right, u64 a, unsigned int count, unsigned int size, u64 *flags)
{
	unsigned int bits = 8 * size;
	unsigned int n = count % bits;
	u64 res = a;

	if (n)
		res = right ? a >> n | a << (bits - n) : a << n | a >> (bits - n);
	res &= size_mask(size);
	if (right) {
		set_flag(flags, FL_CF, res & sign_bit(size));
		set_flag(flags, FL_OF, (res ^ res << 1) & sign_bit(size));
	} else {
		set_flag(flags, FL_CF, res & 1);
		set_flag(flags, FL_OF, !!(res & sign_bit(size)) != (res & 1));
	}
	return res;
}

/* RCL, RCR: bit by bit, as the carry takes part. */
static u64 rotate_carry(bool right, u64 a, unsigned int count, unsigned int size, u64 *flags)
{
	u64 carry = *flags & FL_CF ? 1 : 0;
	u64 top = sign_bit(size);
	u64 out;

	count %= 8 * size + 1;
	if (!count)
		return a;
	while (count--) {
		if (right) {
			out = a & 1;
			a = a >> 1 | (carry ? top : 0);
		} else {
			out = !!(a & top);
			a = (a << 1 | carry) & size_mask(size);
		}
		carry = out;
	}
	set_flag(flags, FL_CF, carry);
	if (right)
		set_flag(flags, FL_OF, (a ^ a << 1) & top);
	else
		set_flag(flags, FL_OF, !!(a & top) != carry);
	return a;
}

static u64 shift_left(u64 a, unsigned int count, unsigned int size, u64 *flags)
{
	unsigned int bits = 8 * size;
	u64 res = (count < bits ? a << count : 0) & size_mask(size);
	bool carry = count <= bits && (a >> (bits - count) & 1);

	set_flag(flags, FL_CF, carry);
	set_flag(flags, FL_OF, !!(res & sign_bit(size)) != carry);
	*flags &= ~(u64)FL_AF;
	set_szp(res, size, flags);
	return res;
}

static u64 shift_right(bool arith, u64 a, unsigned int count, unsigned int size, u64 *flags)
{
	s64 val = arith ? sign_extend(a, size) : (s64)a;
	u64 res, carry;

	if (arith) {
		carry = (u64)(val >> (count - 1)) & 1;
		res = (u64)(val >> count) & size_mask(size);
		*flags &= ~(u64)FL_OF;
	} else {
		carry = a >> (count - 1) & 1;
		res = a >> count;
		set_flag(flags, FL_OF, a & sign_bit(size));
	}
	set_flag(flags, FL_CF, carry);
	*flags &= ~(u64)FL_AF;
	set_szp(res, size, flags);
	return res;
}

/**
 * emu_shift - rotates and shifts of group 2
 * @op: ModRM.reg: ROL ROR RCL RCR SHL SHR SAL SAR
 * @a: value
 * @count: not yet masked
 * @size: 1, 2, 4 or 8
 * @flags: RFLAGS, changed unless the masked count is 0
 *
 * Return: the result.
 */
u64 emu_shift(unsigned int op, u64 a, unsigned int count, unsigned int size, u64 *flags)
{
	count &= size == 8 ? 63 : 31;
	if (!count)
		return a;
	switch (op) {
	case 0:
	case 1:
		return rotate(op == 1, a, count, size, flags);
	case 2:
	case 3:
		return rotate_carry(op == 3, a, count, size, flags);
	case 5:
	case 7:
		return shift_right(op == 7, a, count, size, flags);
	default:
		return shift_left(a, count, size, flags);
	}
}

/**
 * emu_double_shift - SHLD and SHRD
 * @right: SHRD
 * @a: destination
 * @b: where bits come from
 * @count: not yet masked; more than 16 with 16-bit operands is undefined: the register pair
 *	is taken as a ring then
 * @size: 2, 4 or 8
 * @flags: RFLAGS, changed unless the masked count is 0
 *
 * Return: the result.
 */
u64 emu_double_shift(bool right, u64 a, u64 b, unsigned int count, unsigned int size, u64 *flags)
{
	unsigned int bits = 8 * size;
	u64 res, carry, tmp;

	count &= size == 8 ? 63 : 31;
	if (!count)
		return a;
	if (count > bits) {
		tmp = a;
		a = b;
		b = tmp;
		count -= bits;
	}
	if (right) {
		carry = a >> (count - 1) & 1;
		res = count == bits ? b : a >> count | b << (bits - count);
	} else {
		carry = a >> (bits - count) & 1;
		res = count == bits ? b : a << count | b >> (bits - count);
	}
	res &= size_mask(size);
	set_flag(flags, FL_CF, carry);
	set_flag(flags, FL_OF, (a ^ res) & sign_bit(size));
	*flags &= ~(u64)FL_AF;
	set_szp(res, size, flags);
	return res;
}

/* 64 x 64 -> 128 bits */
static void mul_wide(u64 a, u64 b, u64 *lo, u64 *hi)
{
	unsigned __int128 res = (unsigned __int128)a * b;

	*lo = (u64)res;
	*hi = (u64)(res >> 64);
}

static void mul_flags(bool over, u64 *flags)
{
	set_flag(flags, FL_CF, over);
	set_flag(flags, FL_OF, over);
}

/**
 * emu_mul - unsigned multiplication
 * @a: factor
 * @b: factor
 * @size: 1, 2, 4 or 8
 * @lo: low half of the product
 * @hi: high half
 * @flags: RFLAGS, CF and OF changed
 */
void emu_mul(u64 a, u64 b, unsigned int size, u64 *lo, u64 *hi, u64 *flags)
{
	if (size == 8) {
		mul_wide(a, b, lo, hi);
	} else {
		*lo = a * b & size_mask(size);
		*hi = a * b >> (8 * size);
	}
	mul_flags(*hi, flags);
}

/* Signed multiplication, as emu_mul() */
void emu_imul(u64 a, u64 b, unsigned int size, u64 *lo, u64 *hi, u64 *flags)
{
	s64 prod;

	if (size == 8) {
		mul_wide(a, b, lo, hi);
		*hi -= (s64)a < 0 ? b : 0;
		*hi -= (s64)b < 0 ? a : 0;
		mul_flags(*hi != (u64)((s64)*lo >> 63), flags);
		return;
	}
	prod = sign_extend(a, size) * sign_extend(b, size);
	*lo = (u64)prod & size_mask(size);
	*hi = (u64)(prod >> (8 * size)) & size_mask(size);
	mul_flags(prod != sign_extend((u64)prod, size), flags);
}

/* 128 / 64 bits by shift and subtract: the kernel has no 128-bit division. @hi is below @by. */
static void div_wide(u64 hi, u64 lo, u64 by, u64 *quot, u64 *rem)
{
	unsigned int i;
	u64 top;

	for (i = 0; i < 64; i++) {
		top = hi >> 63;
		hi = hi << 1 | lo >> 63;
		lo <<= 1;
		if (top || hi >= by) {
			hi -= by;
			lo |= 1;
		}
	}
	*quot = lo;
	*rem = hi;
}

/**
 * emu_div - unsigned division
 * @hi: high half of the dividend
 * @lo: low half
 * @by: divisor
 * @size: 1, 2, 4 or 8
 * @quot: quotient
 * @rem: remainder
 *
 * Return: false for #DE.
 */
bool emu_div(u64 hi, u64 lo, u64 by, unsigned int size, u64 *quot, u64 *rem)
{
	u64 val;

	if (!by || hi >= by)
		return false;
	if (size == 8) {
		div_wide(hi, lo, by, quot, rem);
		return true;
	}
	val = hi << (8 * size) | lo;
	*quot = val / by;
	*rem = val % by;
	return true;
}

/* Signed division, as emu_div(): on magnitudes, signs put back afterwards */
bool emu_idiv(u64 hi, u64 lo, u64 by, unsigned int size, u64 *quot, u64 *rem)
{
	u64 mask = size_mask(size);
	bool neg = hi & sign_bit(size);
	bool neg_by = by & sign_bit(size);
	u64 limit;

	if (neg) {
		lo = -lo & mask;
		hi = (~hi + !lo) & mask;
	}
	if (neg_by)
		by = -by & mask;
	if (!emu_div(hi, lo, by, size, quot, rem))
		return false;
	limit = sign_bit(size) - (neg != neg_by ? 0 : 1);
	if (*quot > limit)
		return false;
	if (neg != neg_by)
		*quot = -*quot & mask;
	if (neg)
		*rem = -*rem & mask;
	return true;
}

/**
 * emu_cond - evaluate a condition code
 * @cc: low four bits of the opcode
 * @flags: RFLAGS
 *
 * Return: whether it holds.
 */
bool emu_cond(unsigned int cc, u64 flags)
{
	bool less = !!(flags & FL_SF) != !!(flags & FL_OF);
	bool res;

	switch (cc >> 1 & 7) {
	case 0:
		res = flags & FL_OF;
		break;
	case 1:
		res = flags & FL_CF;
		break;
	case 2:
		res = flags & FL_ZF;
		break;
	case 3:
		res = flags & (FL_CF | FL_ZF);
		break;
	case 4:
		res = flags & FL_SF;
		break;
	case 5:
		res = flags & FL_PF;
		break;
	case 6:
		res = less;
		break;
	default:
		res = less || (flags & FL_ZF);
		break;
	}
	return res != (cc & 1);
}
