// SPDX-License-Identifier: GPL-2.0
/*
 * The state save area of system management mode: a row per field and map, copied either way, and
 * the checks of RSM.
 *
 * Little endian, and fields that are narrower in the map are zero-extended.
 */
#include "smram.h"

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/string.h>

#define RFLAGS_FIXED	BIT(1)
#define RFLAGS_TF	BIT(8)
#define RFLAGS_DF	BIT(10)
#define RFLAGS_RF	BIT(16)
#define RFLAGS_VM	BIT(17)
#define RFLAGS_DEFINED	0x3f7fd7u

/* General registers by encoding */
enum { RCX = 1, RSI = 6, RDI = 7 };

#define IO_STATE_SMI	BIT(0)

/**
 * struct row - one field of a map
 * @at: offset from SMRAM_SAVE
 * @len: bytes
 * @field: offset in struct smram_state
 */
struct row {
	u16 at;
	u8 len;
	u16 field;
};

#define F(at, len, field)	{ at, len, offsetof(struct smram_state, field) }

/* 64-bit map: selector, attributes, limit, base */
#define SEG64(at, nr)							\
	F(at, 2, seg[nr].selector), F((at) + 2, 2, seg[nr].attrib),	\
	F((at) + 4, 4, seg[nr].limit), F((at) + 8, 8, seg[nr].base)
/* 32-bit map: the selector apart from the upper half of the descriptor, limit, base */
#define SEG32(sel, at, nr)						\
	F(sel, 2, seg[nr].selector), F((at) + 1, 2, seg[nr].attrib),	\
	F((at) + 4, 4, seg[nr].limit), F((at) + 8, 4, seg[nr].base)

static const struct row map64[] = {
	SEG64(0x000, SMRAM_ES), SEG64(0x010, SMRAM_CS), SEG64(0x020, SMRAM_SS), SEG64(0x030, SMRAM_DS),
	SEG64(0x040, SMRAM_FS), SEG64(0x050, SMRAM_GS), SEG64(0x070, SMRAM_LDTR), SEG64(0x090, SMRAM_TR),
	F(0x064, 2, gdtr.limit), F(0x068, 8, gdtr.base), F(0x084, 2, idtr.limit), F(0x088, 8, idtr.base),
	F(0x0a0, 8, io_rip), F(0x0a8, 8, io_rcx), F(0x0b0, 8, io_rsi), F(0x0b8, 8, io_rdi), F(0x0c0, 4, io_dword),
	F(0x0c8, 1, io_restart), F(0x0c9, 1, auto_halt), F(0x0cb, 1, shadow),
	F(0x0d0, 8, efer), F(0x0d8, 8, svm_guest), F(0x0e0, 8, svm_block),
	F(0x0fc, 4, revision), F(0x100, 4, smbase),
	F(0x148, 8, cr4), F(0x150, 8, cr3), F(0x158, 8, cr0), F(0x160, 8, dr7), F(0x168, 8, dr6),
	F(0x170, 8, rflags), F(0x178, 8, rip),
	F(0x180, 8, gpr[15]), F(0x188, 8, gpr[14]), F(0x190, 8, gpr[13]), F(0x198, 8, gpr[12]),
	F(0x1a0, 8, gpr[11]), F(0x1a8, 8, gpr[10]), F(0x1b0, 8, gpr[9]), F(0x1b8, 8, gpr[8]),
	F(0x1c0, 8, gpr[7]), F(0x1c8, 8, gpr[6]), F(0x1d0, 8, gpr[5]), F(0x1d8, 8, gpr[4]),
	F(0x1e0, 8, gpr[3]), F(0x1e8, 8, gpr[2]), F(0x1f0, 8, gpr[1]), F(0x1f8, 8, gpr[0]),
};

static const struct row map32[] = {
	F(0x0f8, 4, smbase), F(0x0fc, 4, revision), F(0x100, 2, io_restart), F(0x102, 2, auto_halt),
	F(0x104, 4, io_rdi), F(0x108, 4, io_rcx), F(0x10c, 4, io_rsi), F(0x110, 4, io_rip), F(0x11c, 4, io_state),
	F(0x114, 4, cr4), F(0x11a, 1, shadow),
	SEG32(0x1b4, 0x12c, SMRAM_DS), SEG32(0x1b8, 0x138, SMRAM_FS), SEG32(0x1bc, 0x144, SMRAM_GS),
	F(0x154, 2, idtr.limit), F(0x158, 4, idtr.base), SEG32(0x1c4, 0x15c, SMRAM_TR),
	F(0x170, 2, gdtr.limit), F(0x174, 4, gdtr.base), SEG32(0x1c0, 0x178, SMRAM_LDTR),
	SEG32(0x1a8, 0x184, SMRAM_ES), SEG32(0x1ac, 0x190, SMRAM_CS), SEG32(0x1b0, 0x19c, SMRAM_SS),
	F(0x1c8, 4, dr7), F(0x1cc, 4, dr6),
	F(0x1d0, 4, gpr[0]), F(0x1d4, 4, gpr[1]), F(0x1d8, 4, gpr[2]), F(0x1dc, 4, gpr[3]),
	F(0x1e0, 4, gpr[4]), F(0x1e4, 4, gpr[5]), F(0x1e8, 4, gpr[6]), F(0x1ec, 4, gpr[7]),
	F(0x1f0, 4, rip), F(0x1f4, 4, rflags), F(0x1f8, 4, cr3), F(0x1fc, 4, cr0),
};

#define REVISION_AT	0x0fc

static const struct row *rows_of(enum smram_map map, unsigned int *nr)
{
	*nr = map == SMRAM_MAP_64 ? sizeof(map64) / sizeof(map64[0]) : sizeof(map32) / sizeof(map32[0]);
	return map == SMRAM_MAP_64 ? map64 : map32;
}

void smram_pack(const struct smram_state *s, enum smram_map map, u8 *image)
{
	struct smram_state out = *s;
	const struct row *row;
	unsigned int nr;

	out.revision = map == SMRAM_MAP_64 ? SMRAM_REVISION_64 : SMRAM_REVISION_32;
	memset(image, 0, SMRAM_SIZE);
	for (row = rows_of(map, &nr); nr--; row++)
		memcpy(image + row->at, (const u8 *)&out + row->field, row->len);
}

void smram_unpack(struct smram_state *s, enum smram_map map, const u8 *image)
{
	const struct row *row;
	unsigned int nr, i;

	memset(s, 0, sizeof(*s));
	for (row = rows_of(map, &nr); nr--; row++)
		memcpy((u8 *)s + row->field, image + row->at, row->len);
	s->rflags = (s->rflags & RFLAGS_DEFINED) | RFLAGS_FIXED;
	for (i = SMRAM_ES; i <= SMRAM_DS; i++)
		s->seg[i].base = (u32)s->seg[i].base;
	/* Granularity is what the limit says. */
	for (i = 0; i < SMRAM_NR_SEGS; i++)
		s->seg[i].attrib = (s->seg[i].attrib & ~SMRAM_SEG_G) | (s->seg[i].limit > 0xfffff ? SMRAM_SEG_G : 0);
}

enum smram_map smram_map_of(bool long_mode, const u8 *image)
{
	u32 revision;

	memcpy(&revision, image + REVISION_AT, sizeof(revision));
	return long_mode || !((revision ^ SMRAM_REVISION_64) & 0xffff) ? SMRAM_MAP_64 : SMRAM_MAP_32;
}

/* An index or count as it was @back bytes or iterations ago, as wide as addresses are */
static u64 before(u64 now, u64 back, unsigned int asize)
{
	u64 was = now + back;

	if (asize == 8)
		return was;
	return asize == 4 ? (u32)was : (now & ~0xffffull) | (u16)was;
}

void smram_io_store(struct smram_state *s, const struct smram_io *io, bool wide, bool immediate)
{
	u64 rip = s->rip - io->len, size = io->flags >> SMRAM_IO_SIZE_SHIFT;
	u64 *index = io->flags & SMRAM_IO_IN ? &s->io_rdi : &s->io_rsi;
	u32 type = (io->flags & SMRAM_IO_IN ? 1 : 0) | (io->flags & SMRAM_IO_STRING ? 2 : 0) |
		   (io->flags & SMRAM_IO_REP ? 4 : 0) | (immediate ? 8 : 0);

	s->io_rip = wide ? rip : (u32)rip;
	s->io_rcx = s->gpr[RCX];
	s->io_rsi = s->gpr[RSI];
	s->io_rdi = s->gpr[RDI];
	if (io->flags & SMRAM_IO_STRING)
		*index = before(*index, s->rflags & RFLAGS_DF ? size : -size, io->asize);
	if (io->flags & SMRAM_IO_REP)
		s->io_rcx = before(s->io_rcx, 1, io->asize);
	s->io_dword = (u32)io->port << 16 | (s->rflags & RFLAGS_TF ? SMRAM_IO_TF : 0) | io->flags;
	s->io_state = (u32)io->port << 16 | type << 4 | (u32)size << 1 | IO_STATE_SMI;
}

bool smram_io_restart(struct smram_state *s)
{
	if ((u8)s->io_restart != 0xff ||
	    !((s->io_dword & SMRAM_IO_VALID) | (s->io_state & IO_STATE_SMI)))
		return false;
	s->rip = s->io_rip;
	s->gpr[RCX] = s->io_rcx;
	s->gpr[RSI] = s->io_rsi;
	s->gpr[RDI] = s->io_rdi;
	s->rflags |= RFLAGS_RF;
	return true;
}

static bool in_long_mode(const struct smram_state *s)
{
	return s->efer & EFER_BIT_LMA;
}

static bool in_v86_mode(const struct smram_state *s)
{
	return s->rflags & RFLAGS_VM;
}

static bool cs_is_long(const struct smram_state *s)
{
	return in_long_mode(s) && (s->seg[SMRAM_CS].attrib & SMRAM_SEG_L);
}

static bool cr0_legal(u64 cr0)
{
	return !(cr0 >> 32) && !((cr0 & CR0_PG) && !(cr0 & CR0_PE)) &&
	       !((cr0 & CR0_NW) && !(cr0 & CR0_CD));
}

static bool efer_legal(const struct smram_state *s, const struct cr_limits *l)
{
	bool lma = (s->efer & EFER_BIT_LME) && (s->cr0 & CR0_PG);

	return !(s->efer & ~l->efer_allowed) && in_long_mode(s) == lma;
}

static bool long_legal(const struct smram_state *s)
{
	if (!in_long_mode(s))
		return !(s->cr4 & CR4_PCIDE);
	return (s->cr4 & CR4_PAE) && !(cs_is_long(s) && (s->seg[SMRAM_CS].attrib & SMRAM_SEG_DB));
}

static bool rip_legal(const struct smram_state *s)
{
	return cs_is_long(s) ? linear_canonical(s->rip, s->cr4 & CR4_LA57) : !(s->rip >> 32);
}

static bool bases_legal(const struct smram_state *s)
{
	bool la57 = s->cr4 & CR4_LA57;

	return linear_canonical(s->seg[SMRAM_FS].base, la57) &&
	       linear_canonical(s->seg[SMRAM_GS].base, la57) &&
	       linear_canonical(s->seg[SMRAM_LDTR].base, la57) &&
	       linear_canonical(s->seg[SMRAM_TR].base, la57) &&
	       linear_canonical(s->gdtr.base, la57) && linear_canonical(s->idtr.base, la57);
}

static unsigned int type_of(const struct smram_seg *seg)
{
	return seg->attrib & SMRAM_SEG_TYPE;
}

static unsigned int dpl_of(const struct smram_seg *seg)
{
	return (seg->attrib & SMRAM_SEG_DPL) >> SMRAM_SEG_DPL_SHIFT;
}

/* The limit is one that a descriptor can say. */
static bool limit_legal(const struct smram_seg *seg)
{
	return !(seg->attrib & SMRAM_SEG_P) || seg->limit <= 0xfffff ||
	       (seg->limit & 0xfff) == 0xfff;
}

/* Code; outside protected mode also what SMM itself and real mode have there. */
static bool cs_legal(const struct smram_state *s)
{
	const struct smram_seg *cs = &s->seg[SMRAM_CS];
	unsigned int cpl = dpl_of(&s->seg[SMRAM_SS]);

	if ((cs->attrib & (SMRAM_SEG_P | SMRAM_SEG_S)) != (SMRAM_SEG_P | SMRAM_SEG_S))
		return false;
	if (!(type_of(cs) & 8))
		return !(s->cr0 & CR0_PE) && (type_of(cs) | 1) == 3 && !dpl_of(cs) && !cpl;
	return type_of(cs) & 4 ? dpl_of(cs) <= cpl : dpl_of(cs) == cpl;
}

static bool ss_legal(const struct smram_state *s)
{
	const struct smram_seg *ss = &s->seg[SMRAM_SS];

	if (!(s->cr0 & CR0_PE) && dpl_of(ss))
		return false;
	return !(ss->attrib & SMRAM_SEG_P) ||
	       ((ss->attrib & SMRAM_SEG_S) && (type_of(ss) & 10) == 2);
}

static bool data_legal(const struct smram_seg *seg)
{
	if (!(seg->attrib & SMRAM_SEG_P))
		return true;
	return (seg->attrib & SMRAM_SEG_S) && (type_of(seg) & 10) != 8;
}

/* A TSS, available or busy; a local descriptor table */
static bool system_legal(const struct smram_state *s)
{
	const struct smram_seg *tr = &s->seg[SMRAM_TR], *ldtr = &s->seg[SMRAM_LDTR];
	unsigned int tss = type_of(tr) | 2;

	if ((tr->attrib & SMRAM_SEG_P) &&
	    ((tr->attrib & SMRAM_SEG_S) || (tss != 11 && (tss != 3 || in_long_mode(s)))))
		return false;
	return !(ldtr->attrib & SMRAM_SEG_P) ||
	       (!(ldtr->attrib & SMRAM_SEG_S) && type_of(ldtr) == 2);
}

/* Virtual-8086 mode has one kind of segment. */
static bool v86_legal(const struct smram_state *s)
{
	unsigned int i;

	for (i = SMRAM_ES; i <= SMRAM_GS; i++) {
		const struct smram_seg *seg = &s->seg[i];

		if (seg->base != (u32)seg->selector << 4 || seg->limit != 0xffff ||
		    (seg->attrib | 1) != 0xf3)
			return false;
	}
	return true;
}

static bool segments_legal(const struct smram_state *s)
{
	unsigned int i;

	for (i = 0; i < SMRAM_NR_SEGS; i++)
		if (!limit_legal(&s->seg[i]))
			return false;
	if (!system_legal(s))
		return false;
	if (in_v86_mode(s))
		return v86_legal(s);
	return cs_legal(s) && ss_legal(s) && data_legal(&s->seg[SMRAM_DS]) &&
	       data_legal(&s->seg[SMRAM_ES]) && data_legal(&s->seg[SMRAM_FS]) &&
	       data_legal(&s->seg[SMRAM_GS]);
}

/* A guest's guest has SVM, and its control block is a page. */
static bool nested_legal(const struct smram_state *s)
{
	return !s->svm_guest ||
	       (s->svm_guest == 1 && (s->efer & EFER_BIT_SVME) && !(s->svm_block & 0xfff));
}

enum smram_fault smram_check(const struct smram_state *s, const struct cr_limits *l)
{
	if (!cr0_legal(s->cr0))
		return SMRAM_CR0;
	if (s->cr3 >> l->maxphyaddr)
		return SMRAM_CR3;
	if (s->cr4 & l->cr4_reserved)
		return SMRAM_CR4;
	if (!efer_legal(s, l))
		return SMRAM_EFER;
	if (!long_legal(s))
		return SMRAM_LONG;
	if ((s->dr6 | s->dr7) >> 32)
		return SMRAM_DR;
	if (in_v86_mode(s) && (in_long_mode(s) || !(s->cr0 & CR0_PE)))
		return SMRAM_RFLAGS;
	if (!rip_legal(s))
		return SMRAM_RIP;
	if (!bases_legal(s))
		return SMRAM_BASE;
	if (!segments_legal(s))
		return SMRAM_SEGMENT;
	return nested_legal(s) ? SMRAM_OK : SMRAM_NESTED;
}
