// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the ASIDs, beside a model of two CPUs' TLBs: vCPUs run, are flushed and move between
 * CPUs, which are switched off and on, in random order. A vCPU must never find a translation that
 * is not its own or is older than its last flush; one that was not flushed and stays should find
 * what it left.
 */
#include "arch/x86/svm/asid.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define CPUS	2
#define VCPUS	5
#define TAGS	8
#define STEPS	20000

/*
 * What a CPU's TLB has under each tag: whose, and how often that had been flushed when it got in;
 * owner -1: nothing
 */
struct tlb_entry {
	int owner;
	unsigned int epoch;
};

struct cpu {
	struct svm_asids asids;
	struct tlb_entry tlb[TAGS];
};

struct vcpu {
	struct svm_asid asid;
	int last;
	unsigned int epoch;
};

struct model {
	struct cpu cpu[CPUS];
	struct vcpu vcpu[VCPUS];
	u32 nr;
	bool by_asid;
	unsigned long kept, flushes;
};

static void forget_all(struct cpu *c)
{
	unsigned int i;

	for (i = 0; i < TAGS; i++)
		c->tlb[i].owner = -1;
}

static void run(struct model *m, int who, int where)
{
	struct vcpu *v = &m->vcpu[who];
	struct cpu *c = &m->cpu[where];
	enum svm_tlb flush = TLB_NOTHING;
	struct tlb_entry *e;
	u64 gen = c->asids.gen;
	bool taken;

	if (v->last != where)
		v->asid.gen = v->asid.held = 0;
	taken = v->asid.gen != c->asids.gen;
	if (taken)
		flush = svm_asid_take(&c->asids, &v->asid, m->nr, m->by_asid);
	ck_assert_uint_eq(v->asid.gen, c->asids.gen);
	ck_assert_uint_gt(v->asid.asid, 0);
	ck_assert_uint_lt(v->asid.asid, m->nr);
	ck_assert(flush == TLB_NOTHING || flush == TLB_ALL || (flush == TLB_THIS && m->by_asid));
	/* All goes when a generation begins, and then only. */
	ck_assert_int_eq(flush == TLB_ALL, c->asids.gen != gen);

	if (flush == TLB_ALL)
		forget_all(c);
	e = &c->tlb[v->asid.asid];
	if (flush == TLB_THIS)
		e->owner = -1;
	m->flushes += flush == TLB_ALL;
	if (e->owner >= 0) {
		ck_assert_int_eq(e->owner, who);
		ck_assert_uint_eq(e->epoch, v->epoch);
		m->kept++;
	} else {
		/* What was left with an ASID that is still good is there. */
		ck_assert(taken);
	}
	*e = (struct tlb_entry) { .owner = who, .epoch = v->epoch };
	v->last = where;
}

static void flush(struct model *m, int who)
{
	m->vcpu[who].asid.gen = 0;
	m->vcpu[who].epoch++;
}

/* Off and on again: what the TLB has then is anybody's guess. */
static void power_cycle(struct model *m, int where)
{
	unsigned int i;

	svm_asids_reset(&m->cpu[where].asids, m->nr);
	for (i = 0; i < TAGS; i++)
		m->cpu[where].tlb[i] = (struct tlb_entry) { .owner = VCPUS };
}

static void start(struct model *m, u32 nr, bool by_asid)
{
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->nr = nr;
	m->by_asid = by_asid;
	for (i = 0; i < CPUS; i++)
		power_cycle(m, i);
	for (i = 0; i < VCPUS; i++)
		m->vcpu[i].last = -1;
}

START_TEST(test_random)
{
	struct model m;
	unsigned int i;

	srandom(_i);
	start(&m, 2 + _i / 2 % (TAGS - 1), _i & 1);
	for (i = 0; i < STEPS; i++) {
		long r = random();
		int who = r >> 4 & 0xff;

		who %= VCPUS;
		switch (r & 15) {
		case 0:
		case 1:
			flush(&m, who);
			break;
		case 2:
			if ((r >> 12 & 7) == 0)
				power_cycle(&m, r >> 16 & 1);
			break;
		case 3:
			run(&m, who, r >> 16 & 1);
			break;
		default:
			/* Most stay where they are. */
			run(&m, who, m.vcpu[who].last < 0 ? 0 : m.vcpu[who].last);
		}
	}
	ck_assert_uint_gt(m.flushes, 0);
	/* With more ASIDs than vCPUs most runs find what they left. */
	if (m.nr > VCPUS + 1)
		ck_assert_uint_gt(m.kept, STEPS / 4);
}
END_TEST

/*
 * One vCPU alone, never flushed, keeps its ASID; flushed by ASID it keeps it, too; else it goes
 * through all of them, and then the TLB is flushed.
 */
START_TEST(test_one_vcpu)
{
	struct svm_asids cpu = { .gen = 1 };
	struct svm_asid a = { 0 };
	u32 i;

	svm_asids_reset(&cpu, 4);
	ck_assert_int_eq(svm_asid_take(&cpu, &a, 4, true), TLB_ALL);
	ck_assert_uint_eq(a.asid, 1);
	a.gen = 0;
	ck_assert_int_eq(svm_asid_take(&cpu, &a, 4, true), TLB_THIS);
	ck_assert_uint_eq(a.asid, 1);
	for (i = 2; i < 4; i++) {
		a.gen = 0;
		ck_assert_int_eq(svm_asid_take(&cpu, &a, 4, false), TLB_NOTHING);
		ck_assert_uint_eq(a.asid, i);
	}
	a.gen = 0;
	ck_assert_int_eq(svm_asid_take(&cpu, &a, 4, false), TLB_ALL);
	ck_assert_uint_eq(a.asid, 1);
}
END_TEST

static Suite *asid_suite(void)
{
	Suite *s = suite_create("asid");
	TCase *t = tcase_create("asid");

	tcase_add_loop_test(t, test_random, 0, 64);
	tcase_add_test(t, test_one_vcpu);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(asid_suite());
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
