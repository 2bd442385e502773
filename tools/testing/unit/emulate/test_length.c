// SPDX-License-Identifier: GPL-2.0
/*
 * Lengths and validity: the decoder against the disassembler library capstone, on random bytes in
 * three modes.
 *
 * Where the two disagree for a reason, known_disagreement() names the reason and which side the
 * manuals are on.  Lengths must agree whenever capstone decodes at all; what we call undefined,
 * capstone must call so, too.
 */
#include "emu_test.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const unsigned int modes[] = { EMU_MODE_16, EMU_MODE_32, EMU_MODE_64 };
static const cs_mode cs_modes[] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };

static const u8 prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36,
			       0x64, 0x65, 0x26, 0x3e, 0x48, 0x41, 0x4f };

/* A few prefixes, then an escape to one of the maps, then anything */
static void random_bytes(u8 *b)
{
	unsigned int i, pos = 0, nr;
	u64 r = rnd();

	for (i = 0; i < EMU_MAX_INSN; i++)
		b[i] = (u8)rnd();
	nr = r & 3;
	for (i = 0; nr < 3 && i < nr; i++)
		b[pos++] = prefixes[rnd() % sizeof(prefixes)];
	switch (r >> 8 & 15) {
	case 0:
	case 1:
	case 2:
		b[pos++] = 0x0f;
		break;
	case 3:
		b[pos++] = 0x0f;
		b[pos++] = 0x38;
		break;
	case 4:
		b[pos++] = 0x0f;
		b[pos++] = 0x3a;
		break;
	case 5:
		b[pos++] = 0xc4;
		b[pos] = (u8)(0xe0 | (rnd() & 3));
		break;
	case 6:
		b[pos++] = 0xc5;
		b[pos] |= 0xc0;
		break;
	case 7:
		b[pos++] = 0x62;
		b[pos] |= 0xc0;
		break;
	default:
		break;
	}
}

static bool near_branch(const struct emu_insn *d)
{
	if (d->map == EMU_MAP_0F)
		return (d->opcode & 0xf0) == 0x80;
	return d->map == EMU_MAP_1BYTE && (d->opcode == 0xe8 || d->opcode == 0xe9);
}

/* 66, F2, F3 anywhere, or REX right before */
static bool bad_before_vector(const u8 *b)
{
	for (; *b != 0x62 && *b != 0x8f && *b != 0xc4 && *b != 0xc5; b++) {
		if (*b == 0x66 || *b == 0xf2 || *b == 0xf3 || (*b & 0xf0) == 0x40)
			return true;
	}
	return false;
}

/* Capstone decodes what we hold for undefined or for another length: why are we right? */
static const char *known_disagreement(const struct emu_insn *d, const u8 *b, bool undefined)
{
	bool rep = d->prefixes & (EMU_PFX_REP | EMU_PFX_REPNE);
	bool opsize = d->prefixes & EMU_PFX_OPSIZE;

	if (undefined && (d->prefixes & EMU_PFX_LOCK))
		return "LOCK without a lockable memory destination is #UD; capstone passes over it beside F2 and F3";
	if (undefined && (d->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX)) && bad_before_vector(b))
		return "66, F2, F3 and REX before VEX, EVEX and XOP are #UD";
	if (undefined && d->map == EMU_MAP_0F && d->opcode == 0x01 && d->modrm == 0xf8)
		return "SWAPGS is #UD outside 64-bit mode";
	if (undefined && !d->map && d->opcode == 0x8e)
		return "MOV to CS is #UD";
	if (d->map == EMU_MAP_0F && d->opcode == 0x78)
		return "0F 78 is EXTRQ with 66, INSERTQ with F2 (two immediates each), VMREAD only without either";
	if (undefined && d->map == EMU_MAP_0F && (d->opcode == 0xa6 || d->opcode == 0xa7))
		return "PadLock belongs to another vendor";
	if (undefined && d->map == EMU_MAP_0F && (d->opcode == 0xb9 || d->opcode == 0xff))
		return "UD0 and UD1 are undefined by definition";
	if (undefined && d->map == EMU_MAP_0F && d->opcode == 0xae && (rep || opsize))
		return "fences have no F2, F3 or 66 form";
	if (undefined)
		return NULL;
	if (d->map == EMU_MAP_XOPA && d->mode == EMU_MODE_16)
		return "XOP map A has 32 bits of immediate whatever the operand size";
	if (!d->map && d->opcode == 0xc2)
		return "RET has 16 bits of immediate whatever the operand size";
	if (!d->map && opsize && rep && d->opcode == 0x68)
		return "capstone takes 66 beside F2 and F3 for a mandatory prefix and keeps the operand size";
	if (!d->map && opsize && near_branch(d) && b[d->len - 4] != 0x66)
		return "capstone heeds 66 on CALL and JMP only right before the opcode";
	if (!d->map && (d->prefixes & EMU_PFX_ASIZE) && near_branch(d))
		return "capstone gives CALL a 16-bit displacement for 67 and REX";
	if ((d->prefixes & EMU_PFX_EVEX) && d->modrm >= 0xc0)
		return "capstone takes a displacement for register forms with embedded rounding";
	return NULL;
}

static void compare_one(csh cs, cs_insn *insn, unsigned int mode, const u8 *b,
			unsigned long *decoded)
{
	unsigned int flags = mode == EMU_MODE_64 ? EMU_DECODE_AMD : 0;
	const u8 *code = b;
	size_t left = EMU_MAX_INSN;
	struct emu_insn d;
	u64 addr = 0x1000;
	int ret;

	ret = emu_decode(&d, b, EMU_MAX_INSN, mode | flags);
	ck_assert_msg(ret == 0 || ret == EMU_UNDEFINED || ret == -EINVAL, "%d for %s", ret,
		      hex(b, EMU_MAX_INSN));
	if (!cs_disasm_iter(cs, &code, &left, (uint64_t *)&addr, insn))
		return;
	(*decoded)++;
	if (ret == 0 && d.len == insn->size)
		return;
	ck_assert_msg(ret != -EINVAL, "too long for us, %u for capstone: %s", insn->size,
		      hex(b, EMU_MAX_INSN));
	ck_assert_msg(known_disagreement(&d, b, ret == EMU_UNDEFINED),
		      "mode %u: %s%u for us, %u for capstone (%s %s): %s", mode,
		      ret ? "undefined at " : "", d.len, insn->size, insn->mnemonic, insn->op_str,
		      hex(b, EMU_MAX_INSN));
}

/* Which instructions access ports, and how */
static const struct port_row {
	u8 bytes[4];
	u8 mode;
	bool is;
	struct emu_port want;
} port_rows[] = {
	{ { 0xe4, 0xb2 }, EMU_MODE_64, true, { 0xb2, 1, 0, true, false } },
	{ { 0xe5, 0xf2 }, EMU_MODE_16, true, { 0xf2, 2, 0, true, false } },
	{ { 0x66, 0xe7, 0x80 }, EMU_MODE_16, true, { 0x80, 4, 0, false, false } },
	{ { 0x48, 0xed }, EMU_MODE_64, true, { 0x1234, 4, 0, true, false } },
	{ { 0xf3, 0xee }, EMU_MODE_32, true, { 0x1234, 1, 0, false, false } },
	{ { 0x6e }, EMU_MODE_16, true, { 0x1234, 1, 2, false, false } },
	{ { 0xf3, 0x66, 0x6d }, EMU_MODE_64, true, { 0x1234, 2, 8, true, true } },
	{ { 0xf2, 0x67, 0x6f }, EMU_MODE_64, true, { 0x1234, 4, 4, false, true } },
	{ { 0xf3, 0xa4 }, EMU_MODE_64, false, { } },
	{ { 0xe0, 0x00 }, EMU_MODE_64, false, { } },
	{ { 0x0f, 0x6e, 0xc0 }, EMU_MODE_64, false, { } },
};

START_TEST(ports)
{
	const struct port_row *r = &port_rows[_i];
	struct emu e = { .regs.gpr = { [2] = 0x51234 } };
	struct emu_port p = { };

	ck_assert_int_eq(emu_decode(&e.insn, r->bytes, sizeof(r->bytes), r->mode), 0);
	ck_assert_int_eq(emu_port_insn(&e, &p), r->is);
	ck_assert_mem_eq(&p, &r->want, sizeof(p));
}
END_TEST

START_TEST(against_capstone)
{
	unsigned long n = rounds(700000), decoded = 0, i;
	cs_insn *insn;
	csh cs;
	u8 b[16];

	rnd_seed(1 + (u64)_i);
	ck_assert_int_eq(cs_open(CS_ARCH_X86, cs_modes[_i], &cs), CS_ERR_OK);
	insn = cs_malloc(cs);
	for (i = 0; i < n; i++) {
		random_bytes(b);
		compare_one(cs, insn, modes[_i], b, &decoded);
	}
	/* The comparison means something only if most is decodable. */
	ck_assert_msg(decoded > n / 2, "capstone decoded %lu of %lu", decoded, n);
	cs_free(insn, 1);
	cs_close(&cs);
}
END_TEST

/* All prefixes of an instruction's bytes ask for more; all bytes after it do not matter. */
START_TEST(needs_all_bytes)
{
	struct emu_insn d, e;
	unsigned long i;
	unsigned int n;
	u8 b[16];
	int ret;

	rnd_seed(10);
	for (i = 0; i < rounds(200000); i++) {
		random_bytes(b);
		if (emu_decode(&d, b, EMU_MAX_INSN, modes[i % 3]))
			continue;
		for (n = 0; n < d.len; n++) {
			ret = emu_decode(&e, b, n, modes[i % 3]);
			ck_assert_msg(ret == -ENODATA, "%d for %u bytes of %s", ret, n,
				      hex(b, d.len));
		}
		memset(b + d.len, 0xcc, sizeof(b) - d.len);
		ck_assert_int_eq(emu_decode(&e, b, d.len, modes[i % 3]), 0);
		ck_assert_mem_eq(&d, &e, sizeof(d));
	}
}
END_TEST

struct length_row {
	const char *name;
	unsigned int mode;
	u8 bytes[16];
	unsigned int n;
	int ret;
	unsigned int len;
};

static const struct length_row length_rows[] = {
	{ "15 bytes",
	  EMU_MODE_64,
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0x90 },
	  15,
	  0,
	  15 },
	{ "15 prefixes",
	  EMU_MODE_64,
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0x66 },
	  15,
	  -EINVAL,
	  0 },
	{ "16 bytes",
	  EMU_MODE_32,
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0xb0 },
	  15,
	  -EINVAL,
	  0 },
	{ "too long, seen early",
	  EMU_MODE_32,
	  { 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0xe8 },
	  12,
	  -EINVAL,
	  0 },
	{ "nothing", EMU_MODE_32, { 0 }, 0, -ENODATA, 0 },
	{ "Intel: 66 E8 in 64-bit mode has 4 bytes",
	  EMU_MODE_64,
	  { 0x66, 0xe8, 1, 2, 3, 4 },
	  6,
	  0,
	  6 },
	{ "AMD: 66 E8 in 64-bit mode has 2 bytes",
	  EMU_MODE_64 | EMU_DECODE_AMD,
	  { 0x66, 0xe8, 1, 2, 3, 4 },
	  6,
	  0,
	  4 },
	{ "AMD: REX.W wins over 66",
	  EMU_MODE_64 | EMU_DECODE_AMD,
	  { 0x66, 0x48, 0xe8, 1, 2, 3, 4 },
	  7,
	  0,
	  7 },
	{ "MOV imm64", EMU_MODE_64, { 0x48, 0xb8 }, 10, 0, 10 },
	{ "MOV moffs64", EMU_MODE_64, { 0xa1 }, 9, 0, 9 },
	{ "MOV moffs32", EMU_MODE_64, { 0x67, 0xa1 }, 9, 0, 6 },
	{ "ENTER", EMU_MODE_16, { 0xc8, 1, 2, 3 }, 4, 0, 4 },
	{ "far JMP", EMU_MODE_16, { 0xea, 1, 2, 3, 4 }, 5, 0, 5 },
	{ "far JMP, 32-bit", EMU_MODE_16, { 0x66, 0xea, 1, 2, 3, 4, 5, 6 }, 8, 0, 8 },
	{ "far JMP in 64-bit mode", EMU_MODE_64, { 0xea, 1, 2, 3, 4, 5, 6 }, 7, EMU_UNDEFINED, 1 },
	{ "MOV CR ignores mod", EMU_MODE_32, { 0x0f, 0x20, 0x04 }, 3, 0, 3 },
	{ "REX before 66 does not count", EMU_MODE_64, { 0x48, 0x66, 0xb8, 1, 2 }, 5, 0, 5 },
	{ "VEX after 66", EMU_MODE_64, { 0x66, 0xc5, 0xf8, 0x77 }, 4, EMU_UNDEFINED, 4 },
	{ "VEX after REX, too long",
	  EMU_MODE_64,
	  { 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x40, 0xc5, 0xf8, 0x28, 0x80, 1, 2, 3 },
	  15,
	  -EINVAL,
	  0 },
	{ "LES", EMU_MODE_32, { 0xc4, 0x00 }, 2, 0, 2 },
	{ "VZEROUPPER", EMU_MODE_32, { 0xc5, 0xf8, 0x77 }, 3, 0, 3 },
	{ "BOUND", EMU_MODE_32, { 0x62, 0x00 }, 2, 0, 2 },
	{ "LOCK ADD to memory", EMU_MODE_32, { 0xf0, 0x01, 0x00 }, 3, 0, 3 },
	{ "LOCK ADD to a register", EMU_MODE_32, { 0xf0, 0x01, 0xc0 }, 3, EMU_UNDEFINED, 3 },
	{ "LOCK CMP", EMU_MODE_32, { 0xf0, 0x39, 0x00 }, 3, EMU_UNDEFINED, 3 },
	{ "LOCK BT imm", EMU_MODE_32, { 0xf0, 0x0f, 0xba, 0x20, 1 }, 5, EMU_UNDEFINED, 5 },
	{ "LOCK BTS imm", EMU_MODE_32, { 0xf0, 0x0f, 0xba, 0x28, 1 }, 5, 0, 5 },
};

START_TEST(length_cases)
{
	const struct length_row *row = &length_rows[_i];
	struct emu_insn d;
	int ret;

	ret = emu_decode(&d, row->bytes, row->n, row->mode);
	ck_assert_msg(ret == row->ret, "%s: %d, not %d", row->name, ret, row->ret);
	if (ret >= 0)
		ck_assert_msg(d.len == row->len, "%s: %u bytes, not %u", row->name, d.len,
			      row->len);
}
END_TEST

static const u32 skips[] = {
	EMU_SKIP_CPUID,	 EMU_SKIP_HLT,	 EMU_SKIP_VMMCALL, EMU_SKIP_VMCALL, EMU_SKIP_RDMSR,
	EMU_SKIP_WRMSR,	 EMU_SKIP_PAUSE, EMU_SKIP_XSETBV,  EMU_SKIP_RDTSCP, EMU_SKIP_INT3,
	EMU_SKIP_WBINVD, EMU_SKIP_VMRUN, EMU_SKIP_CLGI,	   EMU_SKIP_INTO,
};

/*
 * With any prefixes, the quick length is the decoder's; with too few bytes it asks; something
 * else is seen.
 */
START_TEST(skip_length)
{
	static const u8 harmless[] = { 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x67, 0x66, 0xf2, 0xf3 };
	unsigned long i;

	rnd_seed(20);
	for (i = 0; i < rounds(200000); i++) {
		u32 op = skips[rnd() % (sizeof(skips) / sizeof(skips[0]))];
		unsigned int mode = modes[rnd() % 3];
		unsigned int pos = 0, nr = rnd() % 4, k;
		u8 b[16];

		memset(b, 0x90, sizeof(b));
		while (nr--)
			b[pos++] = harmless[rnd() % sizeof(harmless)];
		if (mode == EMU_MODE_64 && (rnd() & 1))
			b[pos++] = (u8)(0x40 | (rnd() & 15));
		for (k = 0; k < op >> 24; k++)
			b[pos++] = (u8)(op >> (8 * k));
		for (k = 0; k < pos; k++)
			ck_assert_int_eq(emu_skip_length(b, k, mode, op), -ENODATA);
		for (; k <= EMU_MAX_INSN; k++)
			ck_assert_int_eq(emu_skip_length(b, k, mode, op), (int)pos);
		b[pos - 1] ^= 1 + rnd() % 255;
		if (op >> 24 > 1)
			ck_assert_int_eq(emu_skip_length(b, EMU_MAX_INSN, mode, op), -EINVAL);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate: lengths");
	TCase *t = tcase_create("lengths");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 600);
	tcase_add_loop_test(t, against_capstone, 0, 3);
	tcase_add_loop_test(t, ports, 0, (int)(sizeof(port_rows) / sizeof(port_rows[0])));
	tcase_add_test(t, needs_all_bytes);
	tcase_add_loop_test(t, length_cases, 0,
			    (int)(sizeof(length_rows) / sizeof(length_rows[0])));
	tcase_add_test(t, skip_length);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
