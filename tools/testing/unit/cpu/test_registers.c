// SPDX-License-Identifier: GPL-2.0
/*
 * Rules of control registers, MTRRs and the PAT, and decisions of MSR filters: rows of value and
 * verdict.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpu/cr_check.h"
#include "arch/x86/cpu/msr_filter.h"
#include "arch/x86/cpu/mtrr.h"

#define NR(rows) (sizeof(rows) / sizeof((rows)[0]))
#define PROT	(CR0_PE | CR0_ET)
#define PAGED	(PROT | CR0_PG)
#define LME	EFER_BIT_LME
#define LMA	(EFER_BIT_LME | EFER_BIT_LMA)

static const struct cr_limits limits = {
	.cr4_reserved = ~(CR4_BASE | CR4_PCIDE | CR4_LA57 | CR4_OSXSAVE),
	.efer_allowed = 1 | LMA | 1 << 11,
	.xcr0_allowed = 0x2e7,
	.maxphyaddr = 40,
};

struct cr_row {
	const char *name;
	struct cr_state s;
	u64 val;
	bool ok;
};

static const struct cr_row cr0_rows[] = {
	{ "protected mode",		{ .cr0 = CR0_ET }, PROT, true },
	{ "paging without protection",	{ .cr0 = CR0_ET }, CR0_PG | CR0_ET, false },
	{ "NW without CD",		{ .cr0 = PROT }, PROT | CR0_NW, false },
	{ "NW with CD",			{ .cr0 = PROT }, PROT | CR0_NW | CR0_CD, true },
	{ "upper half",			{ .cr0 = PROT }, PROT | 1ull << 32, false },
	{ "legacy paging",		{ .cr0 = PROT }, PAGED, true },
	{ "long mode, no PAE",		{ .cr0 = PROT, .efer = LME }, PAGED, false },
	{ "long mode",			{ .cr0 = PROT, .cr4 = CR4_PAE, .efer = LME }, PAGED, true },
	{ "long mode, CS.L",		{ PROT, 0, CR4_PAE, LME, true }, PAGED, false },
	{ "paging off in 64-bit mode",	{ PAGED, 0, CR4_PAE, LMA, true }, PROT, false },
	{ "paging off, compatibility",	{ PAGED, 0, CR4_PAE, LMA, false }, PROT, true },
	{ "paging off with PCIDE",	{ PAGED, 0, CR4_PAE | CR4_PCIDE, LMA, false }, PROT, false },
	{ "WP in 64-bit mode",		{ PAGED, 0, CR4_PAE, LMA, true }, PAGED | CR0_WP, true },
};

static const struct cr_row cr3_rows[] = {
	{ "legacy: anything",		{ .cr0 = PAGED }, ~0ull, true },
	{ "long mode",			{ PAGED, 0, CR4_PAE, LMA, true }, 0xfffffff000, true },
	{ "beyond MAXPHYADDR",		{ PAGED, 0, CR4_PAE, LMA, true }, 1ull << 40, false },
	{ "bit 63 without PCIDE",	{ PAGED, 0, CR4_PAE, LMA, true }, 1ull << 63, false },
	{ "bit 63 with PCIDE",		{ PAGED, 0, CR4_PAE | CR4_PCIDE, LMA, true }, 1ull << 63 | 0x1000, true },
	{ "bit 62 with PCIDE",		{ PAGED, 0, CR4_PAE | CR4_PCIDE, LMA, true }, 1ull << 62, false },
};

static const struct cr_row cr4_rows[] = {
	{ "PAE",			{ .cr0 = PROT }, CR4_PAE, true },
	{ "reserved",			{ .cr0 = PROT }, CR4_SMEP, false },
	{ "bit 63",			{ .cr0 = PROT }, 1ull << 63, false },
	{ "PAE off in long mode",	{ PAGED, 0, CR4_PAE, LMA, true }, 0, false },
	{ "LA57 in long mode",		{ PAGED, 0, CR4_PAE, LMA, true }, CR4_PAE | CR4_LA57, false },
	{ "LA57 before",		{ .cr0 = PROT, .cr4 = CR4_PAE }, CR4_PAE | CR4_LA57, true },
	{ "PCIDE outside long mode",	{ .cr0 = PROT, .cr4 = CR4_PAE }, CR4_PAE | CR4_PCIDE, false },
	{ "PCIDE",			{ PAGED, 0x1000, CR4_PAE, LMA, true }, CR4_PAE | CR4_PCIDE, true },
	{ "PCIDE with a PCID",		{ PAGED, 0x1001, CR4_PAE, LMA, true }, CR4_PAE | CR4_PCIDE, false },
	{ "PCIDE stays with a PCID",	{ PAGED, 0x1001, CR4_PAE | CR4_PCIDE, LMA, true }, CR4_PAE | CR4_PCIDE | CR4_OSXSAVE, true },
};

static const struct cr_row efer_rows[] = {
	{ "LME before paging",		{ .cr0 = PROT }, LME, true },
	{ "LME under paging",		{ .cr0 = PAGED }, LME, false },
	{ "LME off under paging",	{ PAGED, 0, CR4_PAE, LMA, true }, EFER_BIT_LMA, false },
	{ "NX in long mode",		{ PAGED, 0, CR4_PAE, LMA, true }, LMA | 1 << 11, true },
	{ "SVME not offered",		{ .cr0 = PROT }, 1 << 12, false },
};

static const struct { const char *name; u64 val; bool ok; } xcr0_rows[] = {
	{ "x87", 1, true }, { "x87 off", 2, false }, { "SSE", 3, true }, { "AVX", 7, true }, { "AVX without SSE", 5, false },
	{ "AVX-512", 0xe7, true }, { "half of AVX-512", 0x67, false }, { "AVX-512 without AVX", 0xe3, false },
	{ "PKRU", 0x201, true }, { "not offered", 0x100001, false }, { "bit 63", 1ull << 63 | 1, false },
};

static void same(const struct cr_row *row, bool ok)
{
	ck_assert_msg(ok == row->ok, "%s: expected %d, got %d", row->name, row->ok, ok);
}

START_TEST(cr0) { same(&cr0_rows[_i], cr0_valid(&cr0_rows[_i].s, cr0_rows[_i].val)); } END_TEST
START_TEST(cr3) { same(&cr3_rows[_i], cr3_valid(&cr3_rows[_i].s, &limits, cr3_rows[_i].val)); } END_TEST
START_TEST(cr4) { same(&cr4_rows[_i], cr4_valid(&cr4_rows[_i].s, &limits, cr4_rows[_i].val)); } END_TEST
START_TEST(efer) { same(&efer_rows[_i], efer_valid(&efer_rows[_i].s, &limits, efer_rows[_i].val)); } END_TEST

START_TEST(xcr0)
{
	ck_assert_msg(xcr0_valid(&limits, xcr0_rows[_i].val) == xcr0_rows[_i].ok, "%s",
		      xcr0_rows[_i].name);
}
END_TEST

START_TEST(cr0_bits)
{
	ck_assert_uint_eq(cr0_fix(0), CR0_ET);
	ck_assert_uint_eq(cr0_fix(0xffffffff), CR0_DEFINED);
	/* The upper half is not ignored: it stays for cr0_valid() to refuse. */
	ck_assert_uint_eq(cr0_fix(1ull << 40), 1ull << 40 | CR0_ET);
}
END_TEST

static struct kvm_sregs long_mode_sregs(void)
{
	return (struct kvm_sregs) { .cr0 = PAGED, .cr4 = CR4_PAE, .efer = LMA, .cr3 = 0x1000, .cs = { .l = 1 } };
}

/* Each row spoils one field of a good set. */
static const struct { const char *name; size_t offset; u64 val; bool ok; } sregs_rows[] = {
	{ "unchanged", offsetof(struct kvm_sregs, cr3), 0x1000, true },
	{ "no PAE", offsetof(struct kvm_sregs, cr4), 0, false },
	{ "no LMA", offsetof(struct kvm_sregs, efer), LME, false },
	{ "LMA without LME", offsetof(struct kvm_sregs, efer), EFER_BIT_LMA, false },
	{ "EFER not offered", offsetof(struct kvm_sregs, efer), LMA | 1 << 12, false },
	{ "no paging", offsetof(struct kvm_sregs, cr0), PROT, false },
	{ "paging without protection", offsetof(struct kvm_sregs, cr0), CR0_PG, false },
	{ "CR0 upper half", offsetof(struct kvm_sregs, cr0), PAGED | 1ull << 32, false },
	{ "CR3 too wide", offsetof(struct kvm_sregs, cr3), 1ull << 40, false },
	{ "CR4 reserved", offsetof(struct kvm_sregs, cr4), CR4_PAE | CR4_SMAP, false },
	{ "CR8 too high", offsetof(struct kvm_sregs, cr8), 16, false },
	{ "CR8", offsetof(struct kvm_sregs, cr8), 15, true },
};

START_TEST(sregs)
{
	struct kvm_sregs r = long_mode_sregs();

	memcpy((char *)&r + sregs_rows[_i].offset, &sregs_rows[_i].val, sizeof(u64));
	ck_assert_msg(sregs_valid(&r, &limits) == sregs_rows[_i].ok, "%s", sregs_rows[_i].name);
}
END_TEST

START_TEST(sregs_modes)
{
	struct kvm_sregs r = { .cr0 = CR0_ET };

	ck_assert(sregs_valid(&r, &limits));
	r.cs.l = 1;
	ck_assert(!sregs_valid(&r, &limits));
	r = long_mode_sregs();
	r.cs.db = 1;
	ck_assert(!sregs_valid(&r, &limits));
	/* LME alone, paging still off */
	r = (struct kvm_sregs) { .cr0 = PROT, .cr4 = CR4_PAE, .efer = LME };
	ck_assert(sregs_valid(&r, &limits));
	r.cr4 |= CR4_PCIDE;
	ck_assert(!sregs_valid(&r, &limits));
}
END_TEST

static const struct { const char *name; u32 msr; u64 val; bool ok; } mtrr_rows[] = {
	{ "default WB, on", MTRR_MSR_DEF_TYPE, 0xc06, true },
	{ "default reserved type", MTRR_MSR_DEF_TYPE, 2, false },
	{ "default UC- is PAT only", MTRR_MSR_DEF_TYPE, 7, false },
	{ "default reserved bit", MTRR_MSR_DEF_TYPE, 0x1000, false },
	{ "fixed WB", MTRR_MSR_FIX64K, 0x0606060606060606, true },
	{ "fixed, one bad", MTRR_MSR_FIX4K + 3, 0x0606060306060606, false },
	{ "base", MTRR_MSR_VAR, 0xc0000006, true },
	{ "base, reserved type", MTRR_MSR_VAR, 0xc0000003, false },
	{ "base, reserved bit", MTRR_MSR_VAR, 0xc0000106, false },
	{ "base too wide", MTRR_MSR_VAR, 1ull << 40, false },
	{ "mask", MTRR_MSR_VAR + 1, 0xffc0000800, true },
	{ "mask, reserved bit", MTRR_MSR_VAR + 1, 0xffc0000c00, false },
	{ "mask too wide", MTRR_MSR_VAR_LAST, 1ull << 40, false },
};

START_TEST(mtrr)
{
	ck_assert_msg(mtrr_valid(mtrr_rows[_i].msr, mtrr_rows[_i].val, 40) == mtrr_rows[_i].ok,
		      "%s", mtrr_rows[_i].name);
}
END_TEST

START_TEST(mtrr_slots)
{
	struct mtrr_state m;
	u64 *seen[64], *slot;
	unsigned int nr = 0, i;
	u32 msr;

	for (msr = 0x1f0; msr < 0x310; msr++) {
		slot = mtrr_slot(&m, msr);
		if (!slot)
			continue;
		ck_assert(slot >= (u64 *)&m && slot < (u64 *)(&m + 1));
		for (i = 0; i < nr; i++)
			ck_assert_ptr_ne(seen[i], slot);
		seen[nr++] = slot;
	}
	ck_assert_uint_eq(nr, sizeof(m) / sizeof(u64));
	ck_assert_ptr_null(mtrr_slot(&m, MTRR_MSR_CAP));
	ck_assert_ptr_null(mtrr_slot(&m, MTRR_MSR_VAR_LAST + 1));
}
END_TEST

START_TEST(pat)
{
	ck_assert(mtrr_types_valid(0x0007040600070406, true));
	ck_assert(!mtrr_types_valid(0x0007040600070406, false));
	ck_assert(!mtrr_types_valid(0x0002040600070406, true));
	ck_assert(!mtrr_types_valid(0x8000000000000000, true));
}
END_TEST

START_TEST(filter)
{
	u8 bits[] = { 0x05, 0x80 };
	struct msr_filter f = {
		.default_deny = true,
		.nr = 2,
		.range = {
			{ KVM_MSR_FILTER_READ, 0xc0000080, 16, bits },
			{ KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 0xc0000080, 3, bits },
		},
	};

	ck_assert(msr_filter_allows(NULL, 0x10, true));
	ck_assert(msr_filter_allows(&f, 0xc0000080, false));
	ck_assert(!msr_filter_allows(&f, 0xc0000081, false));
	ck_assert(msr_filter_allows(&f, 0xc0000082, false));
	ck_assert(msr_filter_allows(&f, 0xc000008f, false));
	ck_assert(!msr_filter_allows(&f, 0xc0000090, false));
	ck_assert(!msr_filter_allows(&f, 0xc000007f, false));
	/* Writes pass the first range by. */
	ck_assert(msr_filter_allows(&f, 0xc0000080, true));
	ck_assert(!msr_filter_allows(&f, 0xc0000081, true));
	ck_assert(!msr_filter_allows(&f, 0xc000008f, true));
	/* x2APIC registers are not filtered. */
	ck_assert(msr_filter_allows(&f, 0x800, true));
	ck_assert(msr_filter_allows(&f, 0x8ff, false));
	ck_assert(!msr_filter_allows(&f, 0x900, false));
	f.default_deny = false;
	ck_assert(msr_filter_allows(&f, 0x10, true));
	ck_assert(!msr_filter_allows(&f, 0xc0000081, true));
}
END_TEST

START_TEST(canonical)
{
	ck_assert(linear_canonical(0x00007fffffffffff, false));
	ck_assert(!linear_canonical(0x0000800000000000, false));
	ck_assert(linear_canonical(0xffff800000000000, false));
	ck_assert(linear_canonical(0x0000800000000000, true));
	ck_assert(!linear_canonical(0x0100000000000000, true));
	ck_assert(linear_canonical(0xff00000000000000, true));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpu/registers");
	TCase *c = tcase_create("registers");
	SRunner *r;
	int failed;

	tcase_add_loop_test(c, cr0, 0, NR(cr0_rows));
	tcase_add_loop_test(c, cr3, 0, NR(cr3_rows));
	tcase_add_loop_test(c, cr4, 0, NR(cr4_rows));
	tcase_add_loop_test(c, efer, 0, NR(efer_rows));
	tcase_add_loop_test(c, xcr0, 0, NR(xcr0_rows));
	tcase_add_test(c, cr0_bits);
	tcase_add_loop_test(c, sregs, 0, NR(sregs_rows));
	tcase_add_test(c, sregs_modes);
	tcase_add_loop_test(c, mtrr, 0, NR(mtrr_rows));
	tcase_add_test(c, mtrr_slots);
	tcase_add_test(c, pat);
	tcase_add_test(c, filter);
	tcase_add_test(c, canonical);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
