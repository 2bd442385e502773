// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction decoder: from bytes to struct emu_insn.
 *
 * A table of 16-bit words per opcode says what follows it; groups (opcodes extended by ModRM.reg)
 * add which of their members exist and which take LOCK.  "Undefined" is said only of what no CPU
 * defines, or what the mode forbids; whether this CPU has an extension is the executor's
 * question.  Reads nothing but its arguments.
 */
#include "decode.h"
#include "opcodes.h"

#include <linux/errno.h>
#include <linux/string.h>

/* Where the decoder is. @n is at most 15. */
struct cursor {
	const u8 *bytes;
	unsigned int pos;
	unsigned int n;
};

/* May @k more bytes be read? More than 15 can never be. */
static int cursor_need(const struct cursor *c, unsigned int k)
{
	if (c->pos + k <= c->n)
		return 0;
	return c->pos + k > EMU_MAX_INSN ? -EINVAL : -ENODATA;
}

/*
 * Read a little-endian value of 1, 2, 4 or 8 bytes, sign-extended. The caller has asked
 * cursor_need().
 */
static s64 cursor_read(struct cursor *c, unsigned int k)
{
	const u8 *p = c->bytes + c->pos;
	s64 val64;
	s32 val32;
	s16 val16;

	c->pos += k;
	switch (k) {
	case 1:
		return (s8)*p;
	case 2:
		memcpy(&val16, p, 2);
		return val16;
	case 4:
		memcpy(&val32, p, 4);
		return val32;
	default:
		memcpy(&val64, p, 8);
		return val64;
	}
}

static int read_prefix(struct emu_insn *insn, u8 byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		if (insn->mode != EMU_MODE_64)
			insn->seg = byte >> 3 & 3;
		return 0;
	case 0x64:
	case 0x65:
		insn->seg = byte & 7;
		return 0;
	case 0x66:
		insn->prefixes |= EMU_PFX_OPSIZE;
		return 0;
	case 0x67:
		insn->prefixes |= EMU_PFX_ASIZE;
		return 0;
	case 0xf0:
		insn->prefixes |= EMU_PFX_LOCK;
		return 0;
	default:
		insn->prefixes &= (u8)~(EMU_PFX_REP | EMU_PFX_REPNE);
		insn->prefixes |= byte == 0xf3 ? EMU_PFX_REP : EMU_PFX_REPNE;
		return 0;
	}
}

/*
 * Prefixes in any order; a REX prefix counts only right before the opcode. Leaves the opcode in
 * @opcode.
 */
static int read_prefixes(struct emu_insn *insn, struct cursor *c, u8 *opcode)
{
	int ret;
	u8 byte;

	for (;;) {
		ret = cursor_need(c, 1);
		if (ret)
			return ret;
		byte = c->bytes[c->pos++];
		if (insn->mode == EMU_MODE_64 && (byte & 0xf0) == 0x40) {
			insn->rex = byte;
			continue;
		}
		if (!(emu_opcodes_1byte[byte] & A_PREFIX))
			break;
		insn->rex = 0;
		read_prefix(insn, byte);
	}
	*opcode = byte;
	return 0;
}

static void set_sizes(struct emu_insn *insn, u16 attr, bool amd)
{
	bool opsize = insn->prefixes & EMU_PFX_OPSIZE;
	bool asize = insn->prefixes & EMU_PFX_ASIZE;

	if (insn->mode == EMU_MODE_64) {
		insn->asize = asize ? 4 : 8;
		if (attr & A_F64)
			insn->osize = opsize && amd && !(insn->rex & EMU_REX_W) ? 2 : 8;
		else if (insn->rex & EMU_REX_W)
			insn->osize = 8;
		else if (opsize)
			insn->osize = 2;
		else
			insn->osize = attr & A_D64 ? 8 : 4;
		return;
	}
	insn->asize = (insn->mode == EMU_MODE_32) != asize ? 4 : 2;
	insn->osize = (insn->mode == EMU_MODE_32) != opsize ? 4 : 2;
}

/* Bytes of displacement that ModRM (and SIB) announce; @disp_len of 0 leaves the displacement 0 */
static unsigned int disp_len(const struct emu_insn *insn)
{
	u8 mod = insn->modrm >> 6;
	u8 rm = insn->modrm & 7;

	if (mod == 3)
		return 0;
	if (insn->asize == 2) {
		if (mod == 0)
			return rm == 6 ? 2 : 0;
		return mod == 1 ? 1 : 2;
	}
	if (mod == 0)
		return rm == 5 || (rm == 4 && (insn->sib & 7) == 5) ? 4 : 0;
	return mod == 1 ? 1 : 4;
}

static int read_modrm(struct emu_insn *insn, struct cursor *c, bool reg_only)
{
	unsigned int len;
	int ret;

	ret = cursor_need(c, 1);
	if (ret)
		return ret;
	insn->modrm = c->bytes[c->pos++];
	insn->has_modrm = true;
	if (reg_only) {
		/* MOV to and from CR and DR: ModRM.mod is ignored */
		insn->modrm |= 0xc0;
		return 0;
	}
	if (insn->modrm < 0xc0 && (insn->modrm & 7) == 4 && insn->asize != 2) {
		ret = cursor_need(c, 1);
		if (ret)
			return ret;
		insn->sib = c->bytes[c->pos++];
	}
	len = disp_len(insn);
	if (len) {
		ret = cursor_need(c, len);
		if (ret)
			return ret;
		insn->disp = (s32)cursor_read(c, len);
	}
	return 0;
}

/* Sizes of first and second immediate by A_IMM kind; 0xff is by operand size */
static void imm_sizes(const struct emu_insn *insn, u16 attr, unsigned int *first,
		      unsigned int *second)
{
	unsigned int word = insn->osize == 2 ? 2 : 4;

	*second = 0;
	switch (attr & A_IMM) {
	case I_B:
		*first = 1;
		break;
	case I_Z:
		*first = word;
		break;
	case I_V:
		*first = insn->osize;
		break;
	case I_W:
		*first = 2;
		break;
	case I_WB:
		*first = 2;
		*second = 1;
		break;
	case I_BB:
		*first = 1;
		*second = 1;
		break;
	case I_FAR:
		*first = word;
		*second = 2;
		break;
	case I_MOFFS:
		*first = insn->asize;
		break;
	case I_D:
		*first = 4;
		break;
	default:
		*first = 0;
		break;
	}
}

static int read_imm(struct emu_insn *insn, struct cursor *c, u16 attr)
{
	unsigned int first, second;
	int ret;

	if (!(attr & A_IMM))
		return 0;
	imm_sizes(insn, attr, &first, &second);
	ret = cursor_need(c, first + second);
	if (ret)
		return ret;
	insn->imm = cursor_read(c, first);
	if (second)
		insn->imm2 = (u16)cursor_read(c, second);
	if (second == 1)
		insn->imm2 &= 0xff;
	return 0;
}

/* Everything after the opcode, then what makes it undefined. */
static int finish(struct emu_insn *insn, struct cursor *c, u16 attr)
{
	int ret;

	if (attr & A_UNDEF)
		goto undefined;
	if (insn->mode == EMU_MODE_64 && (attr & A_NO64))
		goto undefined;
	if (attr & A_MODRM) {
		ret = read_modrm(insn, c, (attr & A_GROUP) == G_CR);
		if (ret)
			return ret;
	}
	attr = emu_group_attr(insn, attr);
	ret = read_imm(insn, c, attr);
	if (ret)
		return ret;
	insn->len = (u8)c->pos;
	if (attr & A_UNDEF)
		return EMU_UNDEFINED;
	if ((insn->prefixes & EMU_PFX_LOCK) && (!(attr & A_LOCK) || insn->modrm >= 0xc0))
		return (attr & A_GROUP) == G_CR ? 0 : EMU_UNDEFINED;
	return 0;

undefined:
	insn->len = (u8)c->pos;
	return EMU_UNDEFINED;
}

/* What follows an opcode of a VEX, EVEX or XOP map: always ModRM, bar VZEROUPPER and VZEROALL */
static u16 vector_attr(u8 map, u8 opcode, bool evex)
{
	switch (map) {
	case EMU_MAP_0F:
		if (opcode == 0x77 && !evex)
			return 0;
		return (emu_opcodes_0f[opcode] & A_IMM) == I_B && (opcode & 0xf0) != 0xa0 &&
				       opcode != 0xba ?
			       A_MODRM | I_B :
			       A_MODRM;
	case EMU_MAP_0F3A:
	case EMU_MAP_XOP8:
		return A_MODRM | I_B;
	case EMU_MAP_XOPA:
		return A_MODRM | I_D;
	default:
		return A_MODRM;
	}
}

/* The legacy prefixes that may not precede VEX, EVEX and XOP */
static bool vector_prefixes_ok(const struct emu_insn *insn)
{
	return !insn->rex &&
	       !(insn->prefixes & (EMU_PFX_OPSIZE | EMU_PFX_LOCK | EMU_PFX_REP | EMU_PFX_REPNE));
}

static int decode_vector(struct emu_insn *insn, struct cursor *c, u8 flags, bool amd)
{
	int ret;
	u16 attr;

	ret = cursor_need(c, 1);
	if (ret)
		return ret;
	insn->opcode = c->bytes[c->pos++];
	insn->prefixes |= flags;
	insn->len = (u8)c->pos;
	attr = vector_attr(insn->map, insn->opcode, flags & EMU_PFX_EVEX);
	set_sizes(insn, attr, amd);
	return finish(insn, c, attr);
}

/* A bad prefix or field is #UD only if the whole is not too long: that goes first. */
static int reject(int ret, bool bad)
{
	return ret == 0 && bad ? EMU_UNDEFINED : ret;
}

static int decode_vex2(struct emu_insn *insn, struct cursor *c, bool amd)
{
	bool bad = !vector_prefixes_ok(insn);
	u8 byte = c->bytes[c->pos++];

	insn->map = EMU_MAP_0F;
	insn->rex = byte & 0x80 ? 0 : EMU_REX_R;
	insn->vvvv = ~byte >> 3 & 0xf;
	insn->vlen = byte >> 2 & 1;
	insn->pp = byte & 3;
	return reject(decode_vector(insn, c, EMU_PFX_VEX, amd), bad);
}

/* Three-byte VEX, and XOP, which has the same fields behind another first byte and other maps */
static int decode_vex3(struct emu_insn *insn, struct cursor *c, bool xop, bool amd)
{
	bool bad = !vector_prefixes_ok(insn);
	u8 first, second, map;
	int ret;

	ret = cursor_need(c, 2);
	if (ret)
		return ret;
	first = c->bytes[c->pos++];
	second = c->bytes[c->pos++];
	map = first & 0x1f;
	if (xop ? map > EMU_MAP_XOPA : map < EMU_MAP_0F || map > EMU_MAP_0F3A)
		bad = true;
	insn->map = map;
	insn->rex = (~first >> 5 & 7) | (second & 0x80 ? EMU_REX_W : 0);
	insn->vvvv = ~second >> 3 & 0xf;
	insn->vlen = second >> 2 & 1;
	insn->pp = second & 3;
	return reject(decode_vector(insn, c, EMU_PFX_VEX, amd), bad);
}

static int decode_evex(struct emu_insn *insn, struct cursor *c, bool amd)
{
	bool bad = !vector_prefixes_ok(insn);
	u8 p0, p1, p2;
	int ret;

	ret = cursor_need(c, 3);
	if (ret)
		return ret;
	p0 = c->bytes[c->pos++];
	p1 = c->bytes[c->pos++];
	p2 = c->bytes[c->pos++];
	insn->map = p0 & 7;
	if ((p0 & 0x08) || !(p1 & 0x04) || insn->map == 0 || insn->map == 4 || insn->map == 7)
		bad = true;
	insn->rex = (~p0 >> 5 & 7) | (p1 & 0x80 ? EMU_REX_W : 0);
	insn->vvvv = ~p1 >> 3 & 0xf;
	insn->vlen = p2 >> 5 & 3;
	insn->pp = p1 & 3;
	return reject(decode_vector(insn, c, EMU_PFX_EVEX, amd), bad);
}

static int decode_0f(struct emu_insn *insn, struct cursor *c, bool amd)
{
	u16 attr;
	int ret;
	u8 map = EMU_MAP_0F;

	ret = cursor_need(c, 1);
	if (ret)
		return ret;
	insn->opcode = c->bytes[c->pos++];
	attr = emu_opcodes_0f[insn->opcode];
	if ((attr & A_GROUP) == G_ESCAPE) {
		map = insn->opcode == 0x38 ? EMU_MAP_0F38 : EMU_MAP_0F3A;
		ret = cursor_need(c, 1);
		if (ret)
			return ret;
		insn->opcode = c->bytes[c->pos++];
		attr = emu_escape_attr(map, insn->opcode);
	}
	insn->map = map;
	set_sizes(insn, attr, amd);
	if ((attr & A_GROUP) == G_3DNOW) {
		ret = finish(insn, c, attr);
		insn->map = EMU_MAP_3DNOW;
		insn->opcode = (u8)insn->imm;
		return ret;
	}
	return finish(insn, c, attr);
}

/*
 * Bytes that are VEX, EVEX or XOP if what follows is not the memory form (or /0 form) of the
 * older instruction
 */
static int decode_ambiguous(struct emu_insn *insn, struct cursor *c, u8 opcode, bool amd,
			    bool *taken)
{
	int ret;
	u8 next;

	*taken = true;
	ret = cursor_need(c, 1);
	if (ret)
		return ret;
	next = c->bytes[c->pos];
	if (opcode == 0x8f) {
		if ((next & 0x1f) >= EMU_MAP_XOP8)
			return decode_vex3(insn, c, true, amd);
	} else if (insn->mode == EMU_MODE_64 || next >= 0xc0) {
		if (opcode == 0xc5)
			return decode_vex2(insn, c, amd);
		if (opcode == 0xc4)
			return decode_vex3(insn, c, false, amd);
		return decode_evex(insn, c, amd);
	}
	*taken = false;
	return 0;
}

int emu_decode(struct emu_insn *insn, const u8 *bytes, unsigned int n, unsigned int mode)
{
	struct cursor c = { .bytes = bytes, .n = n < EMU_MAX_INSN ? n : EMU_MAX_INSN };
	bool amd = mode & EMU_DECODE_AMD;
	bool taken;
	u16 attr;
	u8 opcode;
	int ret;

	*insn = (struct emu_insn){ .mode = mode & 3, .seg = EMU_SEG_NONE };
	ret = read_prefixes(insn, &c, &opcode);
	if (ret)
		return ret;
	insn->opcode = opcode;
	attr = emu_opcodes_1byte[opcode];
	if ((attr & A_GROUP) == G_ESCAPE) {
		if (opcode == 0x0f)
			return decode_0f(insn, &c, amd);
		ret = decode_ambiguous(insn, &c, opcode, amd, &taken);
		if (taken)
			return ret;
	}
	set_sizes(insn, attr, amd);
	return finish(insn, &c, attr);
}

/*
 * The slow half of emu_skip_length(): prefixes before the opcode, or less than four bytes.  Any
 * prefix is skipped: that the CPU executed the instruction shows that they were permitted.
 */
int emu_skip_prefixed(const u8 *bytes, unsigned int n, unsigned int mode, u32 opcode)
{
	unsigned int len = opcode >> 24;
	unsigned int pos = 0;
	unsigned int i;

	if (n > EMU_MAX_INSN)
		n = EMU_MAX_INSN;
	while (pos < n && ((emu_opcodes_1byte[bytes[pos]] & A_PREFIX) ||
			   ((mode & 3) == EMU_MODE_64 && (bytes[pos] & 0xf0) == 0x40)))
		pos++;
	for (i = 0; i < len; i++) {
		if (pos + i == n)
			return n == EMU_MAX_INSN ? -EINVAL : -ENODATA;
		if (bytes[pos + i] != (opcode >> (8 * i) & 0xff))
			return -EINVAL;
	}
	return (int)(pos + len);
}
