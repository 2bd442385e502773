// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of VMRUN's consistency checks: each check alone, what just passes, and random control
 * blocks against a list of the manual's sentences; of the intercepts that L1 switches off.
 */
#include "arch/x86/svm/nested_check.h"

#include <asm/svm.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH		40
#define EFER_OK		0xd01ull	/* SCE LME LMA NXE */
#define CR4_RESERVED	(~0x3506f0ull)

static const struct svm_limits limits = {
	.cr4_reserved = CR4_RESERVED, .efer_allowed = EFER_OK | 0x1000, .maxphyaddr = WIDTH, .long_mode = true,
	.nested_paging = true, .paging = true,
};

/* A 64-bit guest under nested paging that nothing is wrong with */
static const struct svm_entry good = {
	.vmrun_intercepted = true, .nested_paging = true, .asid = 1, .iopm = 0x10000, .msrpm = 0x20000, .ncr3 = 0x5000,
	.g_pat = 0x0007040600070406ull, .efer = 0x1d01, .cr0 = 0x80050033, .cr3 = 0x1000, .cr4 = 0x6f0, .dr6 = 0xffff0ff0,
	.dr7 = 0x400, .cs_attrib = 0x29b,
};

struct row {
	const char *name;
	enum svm_refusal want;
	void (*change)(struct svm_entry *e, struct svm_limits *l);
};

#define CHANGE(id, ...) static void id(struct svm_entry *e, struct svm_limits *l) { (void)e; (void)l; __VA_ARGS__; }

CHANGE(nothing)
CHANGE(no_vmrun, e->vmrun_intercepted = false)
CHANGE(asid_0, e->asid = 0)
CHANGE(asid_max, e->asid = ~0u)
CHANGE(iopm_high, e->iopm = 1ull << WIDTH)
CHANGE(iopm_ends, e->iopm = (1ull << WIDTH) - 0x2000)
CHANGE(iopm_last, e->iopm = (1ull << WIDTH) - 0x3000)
CHANGE(iopm_low_bits, e->iopm = (1ull << WIDTH) - 0x3000 + 0xfff)
CHANGE(iopm_wraps, e->iopm = ~0ull)
CHANGE(msrpm_high, e->msrpm = 1ull << 63)
CHANGE(msrpm_ends, e->msrpm = (1ull << WIDTH) - 0x1000)
CHANGE(msrpm_last, e->msrpm = (1ull << WIDTH) - 0x2000)
CHANGE(np_missing, l->nested_paging = false)
CHANGE(np_host_unpaged, l->paging = false)
CHANGE(no_np_host_unpaged, e->nested_paging = false; l->paging = false)
CHANGE(ncr3_high, e->ncr3 |= 1ull << WIDTH)
CHANGE(ncr3_low_bits, e->ncr3 |= 0xfff)
CHANGE(ncr3_unused, e->nested_paging = false; e->ncr3 = ~0ull)
CHANGE(pat_type_2, e->g_pat = 0x0007040600070402ull)
CHANGE(pat_type_3, e->g_pat = 0x0307040600070406ull)
CHANGE(pat_type_8, e->g_pat = 0x0007080600070406ull)
CHANGE(pat_unused, e->nested_paging = false; e->g_pat = ~0ull)
CHANGE(event_intr, e->event_inj = 0x80000020)
CHANGE(event_nmi, e->event_inj = 0x80000202)
CHANGE(event_exc, e->event_inj = 0x80000b0d)
CHANGE(event_soft, e->event_inj = 0x80000480)
CHANGE(event_type_1, e->event_inj = 0x80000120)
CHANGE(event_type_5, e->event_inj = 0x80000520)
CHANGE(event_type_6, e->event_inj = 0x80000620)
CHANGE(event_type_7, e->event_inj = 0x80000720)
CHANGE(event_exc_2, e->event_inj = 0x80000302)
CHANGE(event_exc_32, e->event_inj = 0x80000320)
CHANGE(event_exc_31, e->event_inj = 0x8000031f)
CHANGE(event_off, e->event_inj = 0x7fffffff)
CHANGE(no_svme, e->efer &= ~0x1000ull)
CHANGE(efer_mbz, e->efer |= 1 << 9)
CHANGE(efer_high, e->efer |= 1ull << 40)
CHANGE(nw_alone, e->cr0 |= 1 << 29)
CHANGE(cd_alone, e->cr0 |= 1 << 30)
CHANGE(cd_nw, e->cr0 |= 3 << 29)
CHANGE(cr0_high, e->cr0 |= 1ull << 32)
CHANGE(cr3_high, e->cr3 |= 1ull << WIDTH)
CHANGE(cr3_top, e->cr3 |= 1ull << (WIDTH - 1))
CHANGE(cr4_mbz, e->cr4 |= 1 << 15)
CHANGE(cr4_high, e->cr4 |= 1ull << 32)
CHANGE(dr6_high, e->dr6 |= 1ull << 32)
CHANGE(dr7_high, e->dr7 |= 1ull << 63)
CHANGE(lme_missing, l->long_mode = false)
CHANGE(lma_missing, l->long_mode = false; e->efer = 0x1401)
CHANGE(lme_no_pae, e->cr4 &= ~0x20ull)
CHANGE(lme_no_pe, e->cr0 &= ~1ull)
CHANGE(lme_unpaged, e->cr0 &= ~0x80000001ull; e->cr4 &= ~0x20ull)
CHANGE(paged_real, e->efer = 0x1000; e->cr0 &= ~1ull; e->cs_attrib = 0x9b)
CHANGE(cs_l_d, e->cs_attrib |= 1 << 10)
CHANGE(cs_d, e->cs_attrib = 0x49b)
CHANGE(cs_l_d_legacy, e->efer = 0x1000; e->cs_attrib |= 1 << 10)

#define ROW(id, refusal) { #id, SVM_REFUSE_##refusal, id }

static const struct row rows[] = {
	ROW(nothing, NOTHING), ROW(no_vmrun, VMRUN), ROW(asid_0, ASID), ROW(asid_max, NOTHING),
	ROW(iopm_high, IOPM), ROW(iopm_ends, IOPM), ROW(iopm_last, NOTHING), ROW(iopm_low_bits, NOTHING), ROW(iopm_wraps, IOPM),
	ROW(msrpm_high, MSRPM), ROW(msrpm_ends, MSRPM), ROW(msrpm_last, NOTHING),
	ROW(np_missing, NP), ROW(np_host_unpaged, NP), ROW(no_np_host_unpaged, NOTHING), ROW(ncr3_high, NCR3),
	ROW(ncr3_low_bits, NOTHING), ROW(ncr3_unused, NOTHING),
	ROW(pat_type_2, PAT), ROW(pat_type_3, PAT), ROW(pat_type_8, PAT), ROW(pat_unused, NOTHING),
	ROW(event_intr, NOTHING), ROW(event_nmi, NOTHING), ROW(event_exc, NOTHING), ROW(event_soft, NOTHING),
	ROW(event_type_1, EVENT_TYPE), ROW(event_type_5, EVENT_TYPE), ROW(event_type_6, EVENT_TYPE), ROW(event_type_7, EVENT_TYPE),
	ROW(event_exc_2, EVENT_VECTOR), ROW(event_exc_32, EVENT_VECTOR), ROW(event_exc_31, NOTHING), ROW(event_off, NOTHING),
	ROW(no_svme, SVME), ROW(efer_mbz, EFER), ROW(efer_high, EFER), ROW(nw_alone, CR0_NW), ROW(cd_alone, NOTHING),
	ROW(cd_nw, NOTHING), ROW(cr0_high, CR0), ROW(cr3_high, CR3), ROW(cr3_top, NOTHING), ROW(cr4_mbz, CR4), ROW(cr4_high, CR4),
	ROW(dr6_high, DR6), ROW(dr7_high, DR7), ROW(lme_missing, LONG_MODE), ROW(lma_missing, LONG_MODE), ROW(lme_no_pae, LONG_PAE),
	ROW(lme_no_pe, LONG_PE), ROW(lme_unpaged, NOTHING), ROW(paged_real, NOTHING), ROW(cs_l_d, CS), ROW(cs_d, NOTHING),
	ROW(cs_l_d_legacy, NOTHING),
};

START_TEST(each_alone)
{
	const struct row *row = &rows[_i];
	struct svm_limits l = limits;
	struct svm_entry e = good;
	enum svm_refusal got;

	row->change(&e, &l);
	got = svm_check_entry(&e, &l);
	ck_assert_msg(got == row->want, "%s: refused %d, expected %d", row->name, got, row->want);
}
END_TEST

/* Every check has a row that it alone refuses. */
START_TEST(all_covered)
{
	bool seen[SVM_NR_REFUSALS] = {};
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		seen[rows[i].want] = true;
	for (i = 0; i < SVM_NR_REFUSALS; i++)
		ck_assert_msg(seen[i], "no row for check %u", i);
}
END_TEST

/* The manual's sentences once more, in another form: all that are broken */
static u32 broken(const struct svm_entry *e, const struct svm_limits *l)
{
	const u64 top = 1ull << l->maxphyaddr;
	bool lme = e->efer >> 8 & 1, lma = e->efer >> 10 & 1, pg = e->cr0 >> 31 & 1,
	     event = e->event_inj >> 31;
	unsigned int type = e->event_inj >> 8 & 7, vector = e->event_inj & 0xff, i;
	u32 set = 0;

	set |= (u32)!e->vmrun_intercepted << SVM_REFUSE_VMRUN;
	set |= (u32)(e->asid == 0) << SVM_REFUSE_ASID;
	set |= (u32)((e->iopm >> 12) > (top >> 12) - 3) << SVM_REFUSE_IOPM;
	set |= (u32)((e->msrpm >> 12) > (top >> 12) - 2) << SVM_REFUSE_MSRPM;
	if (e->nested_paging) {
		set |= (u32)(!l->nested_paging || !l->paging) << SVM_REFUSE_NP;
		set |= (u32)(e->ncr3 >= top) << SVM_REFUSE_NCR3;
		for (i = 0; i < 8; i++) {
			u8 t = e->g_pat >> 8 * i & 0xff;

			if (t != 0 && t != 1 && t != 4 && t != 5 && t != 6 && t != 7)
				set |= 1u << SVM_REFUSE_PAT;
		}
	}
	if (event && type != 0 && type != 2 && type != 3 && type != 4)
		set |= 1u << SVM_REFUSE_EVENT_TYPE;
	if (event && type == 3 && (vector >= 32 || vector == 2))
		set |= 1u << SVM_REFUSE_EVENT_VECTOR;
	set |= (u32)!(e->efer >> 12 & 1) << SVM_REFUSE_SVME;
	set |= (u32)!!(e->efer & ~0x500ull & ~l->efer_allowed) << SVM_REFUSE_EFER;
	set |= (u32)((e->cr0 >> 29 & 3) == 1) << SVM_REFUSE_CR0_NW;
	set |= (u32)(e->cr0 > 0xffffffffull) << SVM_REFUSE_CR0;
	set |= (u32)(e->cr3 >= top) << SVM_REFUSE_CR3;
	set |= (u32)!!(e->cr4 & l->cr4_reserved) << SVM_REFUSE_CR4;
	set |= (u32)(e->dr6 > 0xffffffffull) << SVM_REFUSE_DR6;
	set |= (u32)(e->dr7 > 0xffffffffull) << SVM_REFUSE_DR7;
	set |= (u32)((lme || lma) && !l->long_mode) << SVM_REFUSE_LONG_MODE;
	set |= (u32)(lme && pg && !(e->cr4 >> 5 & 1)) << SVM_REFUSE_LONG_PAE;
	set |= (u32)(lme && pg && !(e->cr0 & 1)) << SVM_REFUSE_LONG_PE;
	set |= (u32)(lme && pg && (e->cr4 >> 5 & 1) && (e->cs_attrib >> 9 & 3) == 3)
	       << SVM_REFUSE_CS;
	return set;
}

static u64 random64(void)
{
	return (u64)random() << 42 ^ (u64)random() << 21 ^ (u64)random();
}

/* One in @n times a bit, or the whole, is another. */
static u64 maybe(u64 v, unsigned int n)
{
	if (random() % n)
		return v;
	return random() % 8 ? v ^ 1ull << random() % 64 : random64();
}

START_TEST(random_blocks)
{
	unsigned int rounds = getenv("UNIT_LONG") ? 20000000 : 500000, passed = 0, i;
	unsigned int count[SVM_NR_REFUSALS] = {};

	srandom(getenv("UNIT_SEED") ? atoi(getenv("UNIT_SEED")) : 1);
	for (i = 0; i < rounds; i++) {
		struct svm_limits l = limits;
		struct svm_entry e = good;
		enum svm_refusal got;
		u32 want;

		l.long_mode = random() % 30;
		l.nested_paging = random() % 30;
		l.paging = random() % 30;
		l.maxphyaddr = 36 + random() % 17;
		e.vmrun_intercepted = random() % 30;
		e.nested_paging = random() % 2;
		e.asid = random() % 30;
		e.iopm = maybe(e.iopm, 12);
		e.msrpm = maybe(e.msrpm, 12);
		e.ncr3 = maybe(e.ncr3, 12);
		e.g_pat = maybe(e.g_pat, 12);
		e.event_inj = random() % 4 ? 0 : 1u << 31 | (random() & 0xfff);
		e.efer = maybe(e.efer, 8);
		e.cr0 = maybe(e.cr0, 8);
		e.cr3 = maybe(e.cr3, 12);
		e.cr4 = maybe(e.cr4, 8);
		e.dr6 = maybe(e.dr6, 12);
		e.dr7 = maybe(e.dr7, 12);
		e.cs_attrib = maybe(e.cs_attrib, 4);

		got = svm_check_entry(&e, &l);
		want = broken(&e, &l);
		ck_assert_msg(got ? want >> got & 1 : !want, "round %u: refused %d, broken %#x", i, got, want);
		count[got]++;
		passed += !got;
		ck_assert_uint_eq(!!(svm_entry_efer(e.efer, e.cr0) & 0x400),
				  (e.efer >> 8 & 1) && (e.cr0 >> 31 & 1));
	}
	ck_assert_uint_gt(passed, rounds / 50);
	for (i = 0; i < SVM_NR_REFUSALS; i++)
		ck_assert_msg(count[i] > 20, "check %u seen %u times", i, count[i]);
}
END_TEST

/* What L0 cannot do without, by exit code, which is the number of the intercept */
static const unsigned int mandatory[] = {
	SVM_EXIT_WRITE_CR4, SVM_EXIT_EXCP_BASE + 1, SVM_EXIT_EXCP_BASE + 17, SVM_EXIT_EXCP_BASE + 18, SVM_EXIT_INTR, SVM_EXIT_NMI, SVM_EXIT_SMI,
	SVM_EXIT_INIT, SVM_EXIT_CR0_SEL_WRITE, SVM_EXIT_RDPMC, SVM_EXIT_CPUID, SVM_EXIT_RSM, SVM_EXIT_INVD, SVM_EXIT_HLT, SVM_EXIT_INVLPGA,
	SVM_EXIT_IOIO, SVM_EXIT_MSR, SVM_EXIT_TASK_SWITCH, SVM_EXIT_SHUTDOWN, SVM_EXIT_VMRUN, SVM_EXIT_VMMCALL, SVM_EXIT_VMLOAD,
	SVM_EXIT_VMSAVE, SVM_EXIT_STGI, SVM_EXIT_CLGI, SVM_EXIT_SKINIT, SVM_EXIT_WBINVD, SVM_EXIT_MONITOR, SVM_EXIT_MWAIT, SVM_EXIT_XSETBV,
	SVM_EXIT_RDPRU,
};
#define NR_MANDATORY	(sizeof(mandatory) / sizeof(mandatory[0]))

static bool intercepted(const u32 *words, unsigned int bit)
{
	return words[bit / 32] >> bit % 32 & 1;
}

/* L1 intercepts everything but one that L0 needs: it stays, as do all others. */
START_TEST(switched_off)
{
	u32 own[SVM_INTERCEPT_WORDS] = {}, l1[SVM_INTERCEPT_WORDS], to[SVM_INTERCEPT_WORDS];
	unsigned int bit = mandatory[_i], i;

	for (i = 0; i < NR_MANDATORY; i++)
		own[mandatory[i] / 32] |= 1u << mandatory[i] % 32;
	memset(l1, 0xff, sizeof(l1));
	l1[bit / 32] &= ~(1u << bit % 32);
	svm_merge_intercepts(own, l1, to);
	ck_assert(intercepted(to, bit));
	memset(l1, 0, sizeof(l1));
	svm_merge_intercepts(own, l1, to);
	ck_assert(!memcmp(to, own, sizeof(to)));
}
END_TEST

/* Whatever the words are: L0's are there, and of L1's what has a meaning for guests. */
START_TEST(random_intercepts)
{
	u32 own[SVM_INTERCEPT_WORDS], l1[SVM_INTERCEPT_WORDS], to[SVM_INTERCEPT_WORDS];
	unsigned int round, bit;

	for (round = 0; round < 20000; round++) {
		for (bit = 0; bit < SVM_INTERCEPT_WORDS; bit++) {
			own[bit] = random64();
			l1[bit] = random64();
		}
		svm_merge_intercepts(own, l1, to);
		for (bit = 0; bit < 32 * SVM_INTERCEPT_WORDS; bit++) {
			bool known = bit <= SVM_EXIT_RDPRU || bit == SVM_EXIT_INVPCID;

			ck_assert_uint_eq(intercepted(to, bit),
					  intercepted(own, bit) || (known && intercepted(l1, bit)));
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("svm checks");
	TCase *named = tcase_create("named"), *rnd = tcase_create("random");
	SRunner *r;
	int failed;

	tcase_add_loop_test(named, each_alone, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(named, all_covered);
	tcase_add_loop_test(named, switched_off, 0, NR_MANDATORY);
	tcase_add_test(rnd, random_blocks);
	tcase_add_test(rnd, random_intercepts);
	tcase_set_timeout(rnd, 600);
	suite_add_tcase(s, named);
	suite_add_tcase(s, rnd);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
