// SPDX-License-Identifier: GPL-2.0
/*
 * The save area of system management mode: where each field is, both ways, and what RSM refuses.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/smm/smram.h"

#define NR(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Offsets from SMBASE, as the manuals print them. */
struct place {
	const char *name;
	unsigned int at, len;
	unsigned int field;
};

#define P(name, at, len, f) { name, at, len, offsetof(struct smram_state, f) }

static const struct place places64[] = {
	P("ES selector", 0xfe00, 2, seg[SMRAM_ES].selector), P("ES attributes", 0xfe02, 2, seg[SMRAM_ES].attrib),
	P("ES limit", 0xfe04, 4, seg[SMRAM_ES].limit), P("ES base", 0xfe08, 8, seg[SMRAM_ES].base),
	P("CS selector", 0xfe10, 2, seg[SMRAM_CS].selector), P("CS base", 0xfe18, 8, seg[SMRAM_CS].base),
	P("SS attributes", 0xfe22, 2, seg[SMRAM_SS].attrib), P("DS limit", 0xfe34, 4, seg[SMRAM_DS].limit),
	P("FS base", 0xfe48, 8, seg[SMRAM_FS].base), P("GS base", 0xfe58, 8, seg[SMRAM_GS].base),
	P("GDTR limit", 0xfe64, 2, gdtr.limit), P("GDTR base", 0xfe68, 8, gdtr.base),
	P("LDTR selector", 0xfe70, 2, seg[SMRAM_LDTR].selector), P("LDTR base", 0xfe78, 8, seg[SMRAM_LDTR].base),
	P("IDTR limit", 0xfe84, 2, idtr.limit), P("IDTR base", 0xfe88, 8, idtr.base),
	P("TR selector", 0xfe90, 2, seg[SMRAM_TR].selector), P("TR attributes", 0xfe92, 2, seg[SMRAM_TR].attrib),
	P("TR limit", 0xfe94, 4, seg[SMRAM_TR].limit), P("TR base", 0xfe98, 8, seg[SMRAM_TR].base),
	P("I/O restart RIP", 0xfea0, 8, io_rip), P("I/O restart RCX", 0xfea8, 8, io_rcx), P("I/O restart RSI", 0xfeb0, 8, io_rsi),
	P("I/O restart RDI", 0xfeb8, 8, io_rdi), P("I/O restart dword", 0xfec0, 4, io_dword),
	P("I/O restart", 0xfec8, 1, io_restart), P("auto-halt restart", 0xfec9, 1, auto_halt),
	P("EFER", 0xfed0, 8, efer), P("SVM guest", 0xfed8, 8, svm_guest), P("SVM VMCB", 0xfee0, 8, svm_block),
	P("SMBASE", 0xff00, 4, smbase), P("CR4", 0xff48, 8, cr4), P("CR3", 0xff50, 8, cr3), P("CR0", 0xff58, 8, cr0),
	P("DR7", 0xff60, 8, dr7), P("DR6", 0xff68, 8, dr6), P("RFLAGS", 0xff70, 8, rflags), P("RIP", 0xff78, 8, rip),
	P("R15", 0xff80, 8, gpr[15]), P("R14", 0xff88, 8, gpr[14]), P("R9", 0xffb0, 8, gpr[9]), P("R8", 0xffb8, 8, gpr[8]),
	P("RDI", 0xffc0, 8, gpr[7]), P("RSI", 0xffc8, 8, gpr[6]), P("RBP", 0xffd0, 8, gpr[5]), P("RSP", 0xffd8, 8, gpr[4]),
	P("RBX", 0xffe0, 8, gpr[3]), P("RDX", 0xffe8, 8, gpr[2]), P("RCX", 0xfff0, 8, gpr[1]), P("RAX", 0xfff8, 8, gpr[0]),
};

static const struct place places32[] = {
	P("SMBASE", 0xfef8, 4, smbase), P("I/O restart", 0xff00, 2, io_restart), P("auto-halt restart", 0xff02, 2, auto_halt),
	P("I/O state", 0xff1c, 4, io_state),
	P("ES", 0xffa8, 2, seg[SMRAM_ES].selector), P("CS", 0xffac, 2, seg[SMRAM_CS].selector),
	P("SS", 0xffb0, 2, seg[SMRAM_SS].selector), P("DS", 0xffb4, 2, seg[SMRAM_DS].selector),
	P("FS", 0xffb8, 2, seg[SMRAM_FS].selector), P("GS", 0xffbc, 2, seg[SMRAM_GS].selector),
	P("LDTR", 0xffc0, 2, seg[SMRAM_LDTR].selector), P("TR", 0xffc4, 2, seg[SMRAM_TR].selector),
	P("DR7", 0xffc8, 4, dr7), P("DR6", 0xffcc, 4, dr6),
	P("EAX", 0xffd0, 4, gpr[0]), P("ECX", 0xffd4, 4, gpr[1]), P("EDX", 0xffd8, 4, gpr[2]), P("EBX", 0xffdc, 4, gpr[3]),
	P("ESP", 0xffe0, 4, gpr[4]), P("EBP", 0xffe4, 4, gpr[5]), P("ESI", 0xffe8, 4, gpr[6]), P("EDI", 0xffec, 4, gpr[7]),
	P("EIP", 0xfff0, 4, rip), P("EFLAGS", 0xfff4, 4, rflags), P("CR3", 0xfff8, 4, cr3), P("CR0", 0xfffc, 4, cr0),
};

/* Every byte different from its neighbours, and no field zero. */
static void fill(struct smram_state *s, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < sizeof(*s); i++)
		((u8 *)s)[i] = (u8)(i * 7 + seed) | 1;
}

static void check_places(const struct place *p, size_t nr, enum smram_map map)
{
	u8 image[SMRAM_SIZE];
	struct smram_state s;

	for (; nr--; p++) {
		fill(&s, 3);
		smram_pack(&s, map, image);
		ck_assert_msg(!memcmp(image + p->at - SMRAM_SAVE, (u8 *)&s + p->field, p->len),
			      "%s is not at %#x", p->name, p->at);
	}
}

START_TEST(fields_are_where_the_manual_says)
{
	check_places(places64, NR(places64), SMRAM_MAP_64);
	check_places(places32, NR(places32), SMRAM_MAP_32);
}
END_TEST

static u32 revision_in(const u8 *image)
{
	u32 revision;

	memcpy(&revision, image + 0xfc, 4);
	return revision;
}

/* I/O restart (bit 16), SMBASE relocation (bit 17), the level that tells the maps apart */
START_TEST(revision)
{
	struct smram_state s = { .revision = 0x12345678 };
	u8 image[SMRAM_SIZE];

	smram_pack(&s, SMRAM_MAP_64, image);
	ck_assert_uint_eq(revision_in(image), 0x00030064);
	ck_assert_int_eq(smram_map_of(false, image), SMRAM_MAP_64);
	smram_pack(&s, SMRAM_MAP_32, image);
	ck_assert_uint_eq(revision_in(image), 0x00030000);
	ck_assert_int_eq(smram_map_of(false, image), SMRAM_MAP_32);
	ck_assert_int_eq(smram_map_of(true, image), SMRAM_MAP_64);
}
END_TEST

/* ---- I/O instruction restart ---- */

#define OUT8	(SMRAM_IO_VALID | 1 << SMRAM_IO_SIZE_SHIFT)
#define IN32	(SMRAM_IO_VALID | SMRAM_IO_IN | 4 << SMRAM_IO_SIZE_SHIFT)
#define OUTS16	(SMRAM_IO_VALID | SMRAM_IO_STRING | 2 << SMRAM_IO_SIZE_SHIFT)
#define INS32	(SMRAM_IO_VALID | SMRAM_IO_IN | SMRAM_IO_STRING | 4 << SMRAM_IO_SIZE_SHIFT)
#define AFTER	0x1111222200000000ull
#define TF	0x100
#define DF	0x400

/*
 * Registers behind the instruction; before it; the dword of the 64-bit map, the I/O state field of
 * the 32-bit one
 */
static const struct io_row {
	struct smram_io io;
	bool wide, immediate;
	u64 rip, rcx, rsi, rdi, rflags;
	u64 was_rip, was_rcx, was_rsi, was_rdi;
	u32 dword, state;
} io_rows[] = {
	{ { 0xb2, OUT8, 2, 0 }, true, true, 0x1002, 7, 8, 9, 2, 0x1000, 7, 8, 9, 0x00b20012, 0x00b20083 },
	{ { 0x3f8, OUT8, 1, 0 }, true, false, 0x1002, 7, 8, 9, 2 | TF, 0x1001, 7, 8, 9, 0x03f80812, 0x03f80003 },
	{ { 0xcfc, IN32, 1, 0 }, true, false, 0x1002, 7, 8, 9, 2, 0x1001, 7, 8, 9, 0x0cfc0043, 0x0cfc0019 },
	{ { 0x60, IN32, 2, 0 }, false, true, 1, 7, 8, 9, 2, 0xffffffff, 7, 8, 9, 0x00600043, 0x00600099 },
	/* RSI up and down, RDI not at all */
	{ { 0x80, OUTS16, 2, 8 }, true, false, 0x1002, 7, AFTER, 9, 2, 0x1000, 7, AFTER - 2, 9, 0x00800026, 0x00800025 },
	{ { 0x80, OUTS16, 2, 8 }, true, false, 0x1002, 7, AFTER, 9, 2 | DF, 0x1000, 7, AFTER + 2, 9, 0x00800026, 0x00800025 },
	{ { 0x80, OUTS16, 2, 2 }, false, false, 0x102, 7, 0x50000, 9, 2, 0x100, 7, 0x5fffe, 9, 0x00800026, 0x00800025 },
	{ { 0x80, OUTS16, 2, 4 }, true, false, 0x102, 7, 0, 9, 2, 0x100, 7, 0xfffffffe, 9, 0x00800026, 0x00800025 },
	/* RDI; the last iteration, and one in between */
	{ { 0x80, INS32 | SMRAM_IO_REP, 2, 8 }, true, false, 0x1002, 0, 8, AFTER, 2, 0x1000, 1, 8, AFTER - 4, 0x0080004f, 0x00800079 },
	{ { 0x80, INS32 | SMRAM_IO_REP, 0, 8 }, true, false, 0x1000, 5, 8, AFTER, 2, 0x1000, 6, 8, AFTER - 4, 0x0080004f, 0x00800079 },
	{ { 0x80, INS32 | SMRAM_IO_REP, 0, 2 }, false, false, 0x100, 0x5ffff, 8, 2, 2, 0x100, 0x50000, 8, 0xfffe, 0x0080004f, 0x00800079 },
};

/* Through the area in memory and back, with the handler's byte and without */
static void check_restart(const struct io_row *r, const struct smram_state *s, enum smram_map map,
			  u16 slot, bool again)
{
	unsigned int at = map == SMRAM_MAP_64 ? 0xc8 : 0x100;
	u8 image[SMRAM_SIZE];
	struct smram_state t;

	smram_pack(s, map, image);
	ck_assert_uint_eq(image[at], 0);
	memcpy(image + at, &slot, map == SMRAM_MAP_64 ? 1 : 2);
	smram_unpack(&t, map, image);
	ck_assert_int_eq(smram_io_restart(&t), again);
	ck_assert_uint_eq(t.rip, again ? r->was_rip : r->rip);
	if (map == SMRAM_MAP_32 && (r->rsi | r->rdi) >> 32)
		return;
	ck_assert_uint_eq(t.gpr[1], again ? r->was_rcx : r->rcx);
	ck_assert_uint_eq(t.gpr[6], again ? r->was_rsi : r->rsi);
	ck_assert_uint_eq(t.gpr[7], again ? r->was_rdi : r->rdi);
	ck_assert_uint_eq(t.rflags, r->rflags | (again ? 0x10000 : 0));
}

START_TEST(restart)
{
	const struct io_row *r = &io_rows[_i];
	struct smram_state s = { .rip = r->rip, .rflags = r->rflags, .gpr = { [1] = r->rcx, [6] = r->rsi, [7] = r->rdi } };

	smram_io_store(&s, &r->io, r->wide, r->immediate);
	ck_assert_uint_eq(s.io_dword, r->dword);
	ck_assert_uint_eq(s.io_state, r->state);
	check_restart(r, &s, SMRAM_MAP_64, 0, false);
	check_restart(r, &s, SMRAM_MAP_64, 1, false);
	check_restart(r, &s, SMRAM_MAP_64, 0xff, true);
	check_restart(r, &s, SMRAM_MAP_32, 0, false);
	check_restart(r, &s, SMRAM_MAP_32, 0xff, true);
	/* The slot alone, behind another instruction, is nothing. */
	s.io_dword = s.io_state = 0;
	check_restart(r, &s, SMRAM_MAP_64, 0xff, false);
	check_restart(r, &s, SMRAM_MAP_32, 0xff, false);
}
END_TEST

/* What RSM is to find again is what was stored: no two fields share a byte. */
START_TEST(round_trip)
{
	u8 image[SMRAM_SIZE], again[SMRAM_SIZE];
	struct smram_state s, t;
	unsigned int i, seed;

	for (seed = 0; seed < 256; seed++) {
		fill(&s, seed);
		for (i = SMRAM_ES; i <= SMRAM_DS; i++)
			s.seg[i].base = (u32)s.seg[i].base;
		for (i = 0; i < SMRAM_NR_SEGS; i++)
			s.seg[i].attrib = (s.seg[i].attrib & ~SMRAM_SEG_G) | (s.seg[i].limit > 0xfffff ? SMRAM_SEG_G : 0);
		s.rflags = 0x246;
		s.io_restart &= 0xff;
		s.auto_halt &= 0xff;
		smram_pack(&s, SMRAM_MAP_64, image);
		smram_unpack(&t, SMRAM_MAP_64, image);
		ck_assert_int_eq(memcmp(s.gpr, t.gpr, sizeof(s.gpr)), 0);
		ck_assert_int_eq(memcmp(s.seg, t.seg, sizeof(s.seg)), 0);
		smram_pack(&t, SMRAM_MAP_64, again);
		ck_assert_int_eq(memcmp(image, again, sizeof(image)), 0);
		smram_pack(&s, SMRAM_MAP_32, image);
		smram_unpack(&t, SMRAM_MAP_32, image);
		ck_assert_uint_eq(t.rip, (u32)s.rip);
		ck_assert_uint_eq(t.seg[SMRAM_TR].base, (u32)s.seg[SMRAM_TR].base);
		ck_assert_uint_eq(t.gpr[8] | t.efer | t.svm_guest, 0);
		smram_pack(&t, SMRAM_MAP_32, again);
		ck_assert_int_eq(memcmp(image, again, sizeof(image)), 0);
	}
}
END_TEST

START_TEST(reserved_bits_are_dropped)
{
	u8 image[SMRAM_SIZE];
	struct smram_state s;

	memset(image, 0xff, sizeof(image));
	smram_unpack(&s, SMRAM_MAP_64, image);
	ck_assert_uint_eq(s.rflags, 0x3f7fd7);
	ck_assert_uint_eq(s.seg[SMRAM_CS].base, 0xffffffff);
	ck_assert_uint_eq(s.seg[SMRAM_FS].base, ~0ull);
	memset(image, 0, sizeof(image));
	smram_unpack(&s, SMRAM_MAP_32, image);
	ck_assert_uint_eq(s.rflags, 2);
}
END_TEST

/* ---- the checks ---- */

static const struct cr_limits limits = {
	.cr4_reserved = ~(CR4_BASE | CR4_VME | CR4_PCIDE | CR4_LA57),
	.efer_allowed = EFER_BIT_SCE | EFER_BIT_LME | EFER_BIT_LMA | 1 << 11,
	.maxphyaddr = 40,
};

enum { REAL, PROT, PAE, COMPAT, LONG, V86, NR_BASES };

#define CODE	(SMRAM_SEG_P | SMRAM_SEG_S | 0xb)
#define DATA	(SMRAM_SEG_P | SMRAM_SEG_S | 0x3)
#define RING3	SMRAM_SEG_DPL
#define PAGED	(CR0_PE | CR0_PG | CR0_ET)

static void fill_segments(struct smram_state *s, u16 code, u16 data, u32 limit)
{
	unsigned int i;

	for (i = SMRAM_ES; i <= SMRAM_GS; i++)
		s->seg[i] = (struct smram_seg) { .limit = limit, .attrib = data };
	s->seg[SMRAM_CS].attrib = code;
	s->seg[SMRAM_LDTR] = (struct smram_seg) { .limit = 0xffff, .attrib = SMRAM_SEG_P | 2 };
	s->seg[SMRAM_TR] = (struct smram_seg) { .limit = 0x67, .attrib = SMRAM_SEG_P | 0xb };
}

static struct smram_state base_state(int mode)
{
	struct smram_state s = { .rflags = 2, .cr0 = CR0_PE | CR0_ET, .dr6 = 0xffff0ff0, .dr7 = 0x400, .rip = 0x1000 };

	fill_segments(&s, CODE | SMRAM_SEG_DB | SMRAM_SEG_G, DATA | SMRAM_SEG_DB | SMRAM_SEG_G,
		      0xffffffff);
	switch (mode) {
	case REAL:
		s.cr0 = CR0_ET;
		fill_segments(&s, DATA, DATA, 0xffff);
		break;
	case PAE:
		s.cr0 = PAGED;
		s.cr4 = CR4_PAE;
		s.cr3 = 0xfffff000;
		break;
	case LONG:
		s.seg[SMRAM_CS].attrib =
			(u16)((s.seg[SMRAM_CS].attrib & ~SMRAM_SEG_DB) | SMRAM_SEG_L);
		s.rip = 0xffffffff81000000;
		s.seg[SMRAM_SS].attrib = 0;
		/* fall through */
	case COMPAT:
		s.cr0 = PAGED;
		s.cr4 = CR4_PAE;
		s.efer = EFER_BIT_LME | EFER_BIT_LMA;
		break;
	case V86:
		s.rflags |= 1 << 17;
		fill_segments(&s, DATA | RING3, DATA | RING3, 0xffff);
		s.seg[SMRAM_CS].selector = 0x1234;
		s.seg[SMRAM_CS].base = 0x12340;
		break;
	}
	return s;
}

struct check_row {
	const char *name;
	int mode;
	enum smram_fault fault;
	unsigned int field, len;
	u64 set, clear;
};

#define C(name, mode, fault, f, set, clear) \
	{ name, mode, SMRAM_##fault, offsetof(struct smram_state, f), sizeof(((struct smram_state *)NULL)->f), set, clear }

static const struct check_row check_rows[] = {
	C("real mode", REAL, OK, rip, 0, 0),
	C("protected mode", PROT, OK, rip, 0, 0),
	C("PAE paging", PAE, OK, rip, 0, 0),
	C("compatibility mode", COMPAT, OK, rip, 0, 0),
	C("64-bit mode", LONG, OK, rip, 0, 0),
	C("virtual-8086 mode", V86, OK, rip, 0, 0),

	C("PG without PE", PAE, CR0, cr0, 0, CR0_PE),
	C("NW without CD", PROT, CR0, cr0, CR0_NW, 0),
	C("NW with CD", PROT, OK, cr0, CR0_NW | CR0_CD, 0),
	C("CR0 bit 32", PROT, CR0, cr0, 1ull << 32, 0),
	C("CR3 bit 39", LONG, OK, cr3, 1ull << 39, 0),
	C("CR3 bit 40", LONG, CR3, cr3, 1ull << 40, 0),
	C("CR4 reserved", PROT, CR4, cr4, CR4_SMEP, 0),
	C("CR4 bit 32", PROT, CR4, cr4, 1ull << 32, 0),
	C("EFER reserved", PROT, EFER, efer, 1 << 12, 0),
	C("NX", LONG, OK, efer, 1 << 11, 0),
	C("LMA without LME", LONG, EFER, efer, 0, EFER_BIT_LME),
	C("LME and PG without LMA", LONG, EFER, efer, 0, EFER_BIT_LMA),
	C("LMA without PG", LONG, EFER, cr0, 0, CR0_PG),
	C("LME before paging", PROT, OK, efer, EFER_BIT_LME, 0),
	C("long mode without PAE", LONG, LONG, cr4, 0, CR4_PAE),
	C("PCIDE in long mode", LONG, OK, cr4, CR4_PCIDE, 0),
	C("PCIDE outside", PAE, LONG, cr4, CR4_PCIDE, 0),
	C("CS.L and CS.D", LONG, LONG, seg[SMRAM_CS].attrib, SMRAM_SEG_DB, 0),
	C("CS.L outside long mode", PROT, OK, seg[SMRAM_CS].attrib, SMRAM_SEG_L, 0),
	C("DR6 bit 32", PROT, DR, dr6, 1ull << 32, 0),
	C("DR7 bit 63", PROT, DR, dr7, 1ull << 63, 0),
	C("VM in long mode", COMPAT, RFLAGS, rflags, 1 << 17, 0),
	C("VM in real mode", REAL, RFLAGS, rflags, 1 << 17, 0),
	C("RIP not canonical", LONG, RIP, rip, 1ull << 62, 1ull << 63),
	C("RIP of 57 bits", LONG, RIP, rip, 0, 0xff00ull << 40),
	C("RIP beyond 32 bits", COMPAT, RIP, rip, 1ull << 32, 0),
	C("FS base", LONG, BASE, seg[SMRAM_FS].base, 1ull << 60, 0),
	C("GS base", LONG, BASE, seg[SMRAM_GS].base, 1ull << 47, 0),
	C("TR base", LONG, BASE, seg[SMRAM_TR].base, 1ull << 60, 0),
	C("LDTR base", LONG, BASE, seg[SMRAM_LDTR].base, 1ull << 60, 0),
	C("GDTR base", LONG, BASE, gdtr.base, 1ull << 60, 0),
	C("IDTR base", LONG, BASE, idtr.base, 1ull << 60, 0),

	C("CS not present", PROT, SEGMENT, seg[SMRAM_CS].attrib, 0, SMRAM_SEG_P),
	C("CS a system segment", PROT, SEGMENT, seg[SMRAM_CS].attrib, 0, SMRAM_SEG_S),
	C("CS data in protected mode", PROT, SEGMENT, seg[SMRAM_CS].attrib, 0, 8),
	C("CS read-only data", REAL, SEGMENT, seg[SMRAM_CS].attrib, 0, 2),
	C("CS code in real mode", REAL, OK, seg[SMRAM_CS].attrib, 8, 0),
	C("CS.DPL is not CPL", PROT, SEGMENT, seg[SMRAM_CS].attrib, RING3, 0),
	C("SS.DPL is not CS.DPL", PROT, SEGMENT, seg[SMRAM_SS].attrib, RING3, 0),
	C("SS.DPL in real mode", REAL, SEGMENT, seg[SMRAM_SS].attrib, RING3, 0),
	C("SS read-only", PROT, SEGMENT, seg[SMRAM_SS].attrib, 0, 2),
	C("SS code", PROT, SEGMENT, seg[SMRAM_SS].attrib, 8, 0),
	C("SS null", PROT, OK, seg[SMRAM_SS].attrib, 0, SMRAM_SEG_P),
	C("DS null", PROT, OK, seg[SMRAM_DS].attrib, 0, SMRAM_SEG_P),
	C("DS readable code", PROT, OK, seg[SMRAM_DS].attrib, 8, 0),
	C("ES code that cannot be read", PROT, SEGMENT, seg[SMRAM_ES].attrib, 8, 2),
	C("FS a system segment", PROT, SEGMENT, seg[SMRAM_FS].attrib, 0, SMRAM_SEG_S),
	C("GS limit no descriptor has", PROT, SEGMENT, seg[SMRAM_GS].limit, 0, 1),
	C("TR available", PROT, OK, seg[SMRAM_TR].attrib, 0, 2),
	C("TR 16 bits", PROT, OK, seg[SMRAM_TR].attrib, 0, 8),
	C("TR 16 bits in long mode", LONG, SEGMENT, seg[SMRAM_TR].attrib, 0, 8),
	C("TR a gate", PROT, SEGMENT, seg[SMRAM_TR].attrib, 4, 0),
	C("TR a code segment", PROT, SEGMENT, seg[SMRAM_TR].attrib, SMRAM_SEG_S, 0),
	C("LDTR a TSS", PROT, SEGMENT, seg[SMRAM_LDTR].attrib, 1, 0),
	C("LDTR null", PROT, OK, seg[SMRAM_LDTR].attrib, 0, SMRAM_SEG_P),
	C("V86 base", V86, SEGMENT, seg[SMRAM_DS].base, 0x10, 0),
	C("V86 limit", V86, SEGMENT, seg[SMRAM_DS].limit, 0x10000, 0),
	C("V86 rights", V86, SEGMENT, seg[SMRAM_DS].attrib, 0, RING3),
	C("nested guest without SVM", LONG, NESTED, svm_guest, 1, 0),
};

START_TEST(checks)
{
	const struct check_row *r = &check_rows[_i];
	struct smram_state s = base_state(r->mode);
	u64 val = 0;
	int got;

	memcpy(&val, (u8 *)&s + r->field, r->len);
	val = (val | r->set) & ~r->clear;
	memcpy((u8 *)&s + r->field, &val, r->len);
	got = smram_check(&s, &limits);
	ck_assert_msg(got == (int)r->fault, "%s: got %d, expected %d", r->name, got, (int)r->fault);
}
END_TEST

/* What was interrupted is a guest's guest. */
START_TEST(nested)
{
	struct cr_limits l = limits;
	struct smram_state s = base_state(LONG);

	l.efer_allowed |= EFER_BIT_SVME;
	s.efer |= EFER_BIT_SVME;
	s.svm_guest = 1;
	s.svm_block = 0x5000;
	ck_assert_int_eq(smram_check(&s, &l), SMRAM_OK);
	ck_assert_int_eq(smram_check(&s, &limits), SMRAM_EFER);
	s.svm_block = 0x5008;
	ck_assert_int_eq(smram_check(&s, &l), SMRAM_NESTED);
	s.svm_block = 0x5000;
	s.svm_guest = 3;
	ck_assert_int_eq(smram_check(&s, &l), SMRAM_NESTED);
}
END_TEST

/* Paging of five levels makes more addresses canonical. */
START_TEST(la57)
{
	struct smram_state s = base_state(LONG);

	s.rip = 1ull << 55;
	s.gdtr.base = 1ull << 55;
	ck_assert_int_eq(smram_check(&s, &limits), SMRAM_RIP);
	s.cr4 |= CR4_LA57;
	ck_assert_int_eq(smram_check(&s, &limits), SMRAM_OK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smram");
	TCase *map = tcase_create("map"), *check = tcase_create("check");
	SRunner *runner;
	int failed;

	tcase_add_test(map, fields_are_where_the_manual_says);
	tcase_add_test(map, revision);
	tcase_add_loop_test(map, restart, 0, NR(io_rows));
	tcase_add_test(map, round_trip);
	tcase_add_test(map, reserved_bits_are_dropped);
	suite_add_tcase(suite, map);
	tcase_add_loop_test(check, checks, 0, NR(check_rows));
	tcase_add_test(check, la57);
	tcase_add_test(check, nested);
	suite_add_tcase(suite, check);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
