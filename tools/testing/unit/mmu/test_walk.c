// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the guest page table walker: named cases with the values the manuals give, and random
 * tables compared with the reference walker.
 */
#include "ref_walk.h"
#include "../../../../arch/x86/mmu/walk_pure.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CR0_PG		(1ul << 31)
#define CR0_WP		(1ul << 16)
#define CR4_PSE		(1ul << 4)
#define CR4_PAE		(1ul << 5)
#define CR4_LA57	(1ul << 12)
#define CR4_SMEP	(1ul << 20)
#define CR4_SMAP	(1ul << 21)
#define CR4_PKE		(1ul << 22)
#define EFER_LMA	(1ul << 10)
#define EFER_NXE	(1ul << 11)

#define P	1ull
#define W	2ull
#define U	4ull
#define A	0x20ull
#define D	0x40ull
#define PS	0x80ull
#define NX	(1ull << 63)
#define KEY(n)	((u64)(n) << 59)

/* Guest memory as the walker sees it, with a race to be played */
struct guest {
	struct mem mem;
	int races;	/* so many cmpxchg find an entry changed by somebody else... */
	u64 race_bits;	/* ...who toggles these */
	int writes;
};

static int guest_read(void *ctx, u64 gpa, u64 *entry, unsigned int size)
{
	struct guest *g = ctx;

	if (gpa > MEM_SIZE - size)
		return -EFAULT;
	*entry = 0;
	memcpy(entry, &g->mem.byte[gpa], size);
	return 0;
}

static int guest_cmpxchg(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size)
{
	struct guest *g = ctx;
	u64 now = 0;

	ck_assert(gpa <= MEM_SIZE - size);
	memcpy(&now, &g->mem.byte[gpa], size);
	if (g->races) {
		g->races--;
		now ^= g->race_bits;
		memcpy(&g->mem.byte[gpa], &now, size);
	}
	if (now != old)
		return -EAGAIN;
	memcpy(&g->mem.byte[gpa], &new, size);
	g->writes++;
	return 0;
}

static const struct walk_ops guest_ops = { .read = guest_read, .cmpxchg = guest_cmpxchg };
static const struct walk_ops peek_ops = { .read = guest_read };

static int run(const struct ref_cpu *c, const struct ref_access *a, struct guest *g,
	       const struct walk_ops *ops, struct walk *w)
{
	struct walk_cpuid cpuid = { .maxphyaddr = c->maxphyaddr, .gbpages = c->gbpages, .amd = c->amd };
	struct walk_in in = {
		.linear = a->linear, .cr3 = c->cr3, .pdptr = c->pdptr, .pkru = c->pkru, .ac = c->ac,
		.access = (a->write ? ACCESS_WRITE : 0) | (a->user ? ACCESS_USER : 0) | (a->fetch ? ACCESS_FETCH : 0) |
			  (a->implicit ? ACCESS_IMPLICIT : 0),
	};
	struct walk_mode mode;

	walk_mode_init(&mode, c->cr0, c->cr4, c->efer, &cpuid);
	return walk_tables(&mode, &in, ops, g, w);
}

static void put(struct guest *g, u64 at, u64 entry, int size)
{
	memcpy(&g->mem.byte[at], &entry, size);
}

static u64 get(const struct guest *g, u64 at, int size)
{
	u64 entry = 0;

	memcpy(&entry, &g->mem.byte[at], size);
	return entry;
}

/*
 * Named cases. Long mode: PML4 at 0x1000, PDPT at 0x2000, PD at 0x3000, PT at 0x4000, always index
 * 0; linear address 0x123.
 */
struct long_case {
	const char *name;
	unsigned long cr0, cr4;
	u64 efer;
	u64 pml4e, pdpte, pde, pte;
	bool write, user, fetch, implicit, ac;
	u32 pkru;
	int ret;
	u32 error;
	u64 gpa;
	int level;
};

#define TABLES		.pml4e = 0x2000 | P | W | U, .pdpte = 0x3000 | P | W | U, .pde = 0x4000 | P | W | U

static const struct long_case long_cases[] = {
	{ "4K supervisor read", TABLES, .pte = 0x5000 | P, .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "not present, user write", TABLES, .pte = 0, .write = true, .user = true, .ret = 1, .error = 6 },
	{ "not present, fetch, no NX nor SMEP", TABLES, .pte = 0, .user = true, .fetch = true, .ret = 1, .error = 4 },
	{ "not present, fetch, NXE", TABLES, .efer = EFER_NXE, .pte = 0, .user = true, .fetch = true, .ret = 1, .error = 0x14 },
	{ "not present, fetch, SMEP", TABLES, .cr4 = CR4_SMEP, .pte = 0, .fetch = true, .ret = 1, .error = 0x10 },
	{ "user write to read-only", TABLES, .pte = 0x5000 | P | U, .write = true, .user = true, .ret = 1, .error = 7 },
	{ "supervisor write to read-only, WP=0", TABLES, .pte = 0x5000 | P, .write = true, .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "supervisor write to read-only, WP=1", TABLES, .cr0 = CR0_WP, .pte = 0x5000 | P, .write = true, .ret = 1, .error = 3 },
	{ "user read of supervisor page", TABLES, .pte = 0x5000 | P | W, .user = true, .ret = 1, .error = 5 },
	{ "upper level takes U away", .pml4e = 0x2000 | P | W, .pdpte = 0x3000 | P | W | U, .pde = 0x4000 | P | W | U,
	  .pte = 0x5000 | P | W | U, .user = true, .ret = 1, .error = 5 },
	{ "NX in the middle", .efer = EFER_NXE, .pml4e = 0x2000 | P | W | U, .pdpte = 0x3000 | P | W | U | NX,
	  .pde = 0x4000 | P | W | U, .pte = 0x5000 | P | W | U, .user = true, .fetch = true, .ret = 1, .error = 0x15 },
	{ "NX bit without NXE is reserved", TABLES, .pte = 0x5000 | P | NX, .ret = 1, .error = 9 },
	{ "address above MAXPHYADDR", TABLES, .pte = 1ull << 40 | P, .write = true, .ret = 1, .error = 0xb },
	{ "SMEP", TABLES, .cr4 = CR4_SMEP, .pte = 0x5000 | P | U, .fetch = true, .ret = 1, .error = 0x11 },
	{ "SMAP", TABLES, .cr4 = CR4_SMAP, .pte = 0x5000 | P | U, .ret = 1, .error = 1 },
	{ "SMAP, AC", TABLES, .cr4 = CR4_SMAP, .pte = 0x5000 | P | U, .ac = true, .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "SMAP, AC, implicit", TABLES, .cr4 = CR4_SMAP, .pte = 0x5000 | P | U, .ac = true, .implicit = true, .ret = 1,
	  .error = 1 },
	{ "2M", .pml4e = 0x2000 | P, .pdpte = 0x3000 | P, .pde = 0x40200000 | P | PS, .ret = 0, .gpa = 0x40200123, .level = 2 },
	{ "2M with PAT bit", .pml4e = 0x2000 | P, .pdpte = 0x3000 | P, .pde = 0x40201000 | P | PS, .ret = 0, .gpa = 0x40200123,
	  .level = 2 },
	{ "2M, bit 13", .pml4e = 0x2000 | P, .pdpte = 0x3000 | P, .pde = 0x40202000 | P | PS, .ret = 1, .error = 9 },
	{ "1G", .pml4e = 0x2000 | P, .pdpte = 0x80000000 | P | PS, .ret = 0, .gpa = 0x80000123, .level = 3 },
	{ "PS in PML4E", .pml4e = 0x2000 | P | PS, .ret = 1, .error = 9 },
	{ "bit 8 in PML4E", .pml4e = 0x2100 | P, .ret = 1, .error = 9 },
	{ "key: access disabled", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | W | U | KEY(3), .user = true, .pkru = 0x40, .ret = 1,
	  .error = 0x25 },
	{ "key: write disabled, read", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | W | U | KEY(3), .user = true, .pkru = 0x80,
	  .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "key: write disabled, user write", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | W | U | KEY(3), .user = true,
	  .write = true, .pkru = 0x80, .ret = 1, .error = 0x27 },
	{ "key: write disabled, supervisor, WP=0", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | W | U | KEY(3), .write = true,
	  .pkru = 0x80, .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "key: not for fetches", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | U | KEY(3), .user = true, .fetch = true, .pkru = ~0u,
	  .ret = 0, .gpa = 0x5123, .level = 1 },
	{ "key: not for supervisor pages", TABLES, .cr4 = CR4_PKE, .pte = 0x5000 | P | KEY(3), .pkru = ~0u, .ret = 0,
	  .gpa = 0x5123, .level = 1 },
	{ "table outside memory", .pml4e = 1ull << 30 | P, .ret = -EFAULT },
};

START_TEST(long_mode)
{
	const struct long_case *t = &long_cases[_i];
	struct ref_cpu c = {
		.cr0 = CR0_PG | t->cr0, .cr4 = CR4_PAE | t->cr4, .efer = EFER_LMA | t->efer, .cr3 = 0x1018, .pkru = t->pkru,
		.ac = t->ac, .maxphyaddr = 40, .gbpages = true, .amd = true,
	};
	struct ref_access a = {
		.linear = 0x123, .write = t->write, .user = t->user, .fetch = t->fetch, .implicit = t->implicit,
	};
	struct guest *g = calloc(1, sizeof(*g));
	struct walk w;
	int ret;

	put(g, 0x1000, t->pml4e, 8);
	put(g, 0x2000, t->pdpte, 8);
	put(g, 0x3000, t->pde, 8);
	put(g, 0x4000, t->pte, 8);
	ret = run(&c, &a, g, &guest_ops, &w);
	ck_assert_msg(ret == t->ret, "%s: returns %d, not %d", t->name, ret, t->ret);
	if (ret == 1)
		ck_assert_msg(w.error == t->error, "%s: error %x, not %x", t->name, w.error,
			      t->error);
	if (ret)
		ck_assert_msg(!g->writes, "%s: tables changed by a fault", t->name);
	if (!ret)
		ck_assert_msg(w.gpa == t->gpa && w.level == t->level, "%s: gpa %llx level %d",
			      t->name, w.gpa, w.level);
	free(g);
}
END_TEST

/* A and D: all levels, the leaf's D for writes only, nothing written when they are set already */
START_TEST(accessed_dirty)
{
	struct ref_cpu c = { .cr0 = CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LMA, .cr3 = 0x1000, .maxphyaddr = 40 };
	struct ref_access a = { .linear = 0 };
	struct guest *g = calloc(1, sizeof(*g));
	struct walk w;

	put(g, 0x1000, 0x2000 | P | W, 8);
	put(g, 0x2000, 0x3000 | P | W, 8);
	put(g, 0x3000, 0x4000 | P | W, 8);
	put(g, 0x4000, 0x5000 | P | W, 8);
	ck_assert_int_eq(run(&c, &a, g, &peek_ops, &w), 0);
	ck_assert_uint_eq(get(g, 0x4000, 8), 0x5000 | P | W);
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_int_eq(g->writes, 4);
	ck_assert_uint_eq(get(g, 0x1000, 8), 0x2000 | P | W | A);
	ck_assert_uint_eq(get(g, 0x4000, 8), 0x5000 | P | W | A);
	a.write = true;
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_int_eq(g->writes, 5);
	ck_assert_uint_eq(get(g, 0x3000, 8), 0x4000 | P | W | A);
	ck_assert_uint_eq(get(g, 0x4000, 8), 0x5000 | P | W | A | D);
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_int_eq(g->writes, 5);
	free(g);
}
END_TEST

/* The entry changes between reading and setting A: the walk is done anew, with the new entry. */
START_TEST(race)
{
	struct ref_cpu c = { .cr0 = CR0_PG | CR0_WP, .cr4 = CR4_PAE, .efer = EFER_LMA, .cr3 = 0x1000, .maxphyaddr = 40 };
	struct ref_access a = { .linear = 0 };
	struct guest *g = calloc(1, sizeof(*g));
	struct walk w;

	put(g, 0x1000, 0x2000 | P | W | A, 8);
	put(g, 0x2000, 0x3000 | P | W | A, 8);
	put(g, 0x3000, 0x4000 | P | W | A, 8);
	put(g, 0x4000, 0x5000 | P | W, 8);
	g->races = 1;
	g->race_bits = 0x3000;
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_uint_eq(w.gpa, 0x6000);
	put(g, 0x4000, 0x5000 | P | W, 8);
	g->races = 1;
	g->race_bits = P;
	a.write = true;
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 1);
	ck_assert_uint_eq(w.error, 2);
	free(g);
}
END_TEST

START_TEST(pae_pdptr)
{
	struct ref_cpu c = { .cr0 = CR0_PG, .cr4 = CR4_PAE, .maxphyaddr = 36, .pdptr = { 0, 0x1001, 0, 0x1001 } };
	struct ref_access a = { .linear = 0x40000000, .user = true };
	struct guest *g = calloc(1, sizeof(*g));
	struct walk w;

	put(g, 0x1000, 0x200000 | P | W | U | PS, 8);
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_uint_eq(w.gpa, 0x200000);
	a.linear = 0x80000000;
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 1);
	ck_assert_uint_eq(w.error, 4);
	ck_assert_uint_eq(walk_pdptr_rsvd(36), 0xfffffff0000001e6ull);
	ck_assert_uint_eq(walk_pdptr_rsvd(52), 0xfff00000000001e6ull);
	free(g);
}
END_TEST

START_TEST(pse36)
{
	struct ref_cpu c = { .cr0 = CR0_PG, .cr4 = CR4_PSE, .cr3 = 0x1000, .maxphyaddr = 40 };
	struct ref_access a = { .linear = 0xabc123 };
	struct guest *g = calloc(1, sizeof(*g));
	struct walk w;

	put(g, 0x1008, 0x40000000 | 0x15 << 13 | P | PS, 4);
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 0);
	ck_assert_uint_eq(w.gpa, 0x15402bc123ull);
	ck_assert_int_eq(w.level, 2);
	c.maxphyaddr = 36;
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 1);
	ck_assert_uint_eq(w.error, 9);
	c.maxphyaddr = 40;
	put(g, 0x1008, 0x40000000 | 1 << 21 | P | PS, 4);
	ck_assert_int_eq(run(&c, &a, g, &guest_ops, &w), 1);
	ck_assert_uint_eq(w.error, 9);
	free(g);
}
END_TEST

/* Random comparison */
static u64 rnd_state = 0x9e3779b97f4a7c15ull;

static u64 rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

static u64 random_entry(const struct ref_cpu *c)
{
	/*
	 * Mostly a table in memory with all rights, so that walks get deep; then bits are flipped.
	 */
	u64 entry = (rnd() % MEM_PAGES) << 12 | P | W | U;

	if (one_in(5))
		entry = (entry & 0xfff) | (rnd() & ((1ull << c->maxphyaddr) - 1) & ~0xfffull);
	if (one_in(4))
		entry |= PS;
	if (one_in(3))
		entry = (entry & ~0x1ff000ull) | (one_in(2) ? PS : 0);	/* aligned for a large page */
	if (one_in(6))
		entry &= ~(1ull << (rnd() % 3));
	if (one_in(4))
		entry |= 1ull << (rnd() % 64);
	if (one_in(4))
		entry |= KEY(rnd() % 16);
	if (one_in(2))
		entry |= rnd() & (A | D);
	return entry;
}

static void random_cpu(struct ref_cpu *c)
{
	static const u8 widths[] = { 32, 36, 39, 40, 46, 48, 52 };
	unsigned int i, mode = rnd() % 16;

	*c = (struct ref_cpu) {
		.cr0 = (mode ? CR0_PG : 0) | (one_in(2) ? CR0_WP : 0),
		.cr4 = rnd() & (CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PKE),
		.efer = rnd() & EFER_NXE,
		.cr3 = (rnd() % MEM_PAGES) << 12 | (rnd() & 0xfff),
		.pkru = rnd() & rnd(),
		.ac = one_in(2),
		.maxphyaddr = widths[rnd() % 7],
		.gbpages = one_in(2),
		.amd = one_in(2),
	};
	if (mode > 4)
		c->cr4 |= CR4_PAE;
	if (mode > 8)
		c->efer |= EFER_LMA;
	if (mode > 12)
		c->cr4 |= CR4_LA57;
	if (one_in(2))
		c->cr4 &= ~(CR4_SMEP | CR4_SMAP);
	for (i = 0; i < 4; i++)
		c->pdptr[i] = (rnd() % MEM_PAGES) << 12 | !one_in(5);
}

static void random_access(struct ref_access *a)
{
	*a = (struct ref_access) {
		.linear = rnd(), .write = one_in(2), .user = one_in(2), .fetch = one_in(3), .implicit = one_in(4),
	};
	if (a->fetch)
		a->write = false;
	if (a->implicit)
		a->user = false;
}

static void compare(const struct ref_cpu *c, const struct ref_access *a, struct guest *g,
		    struct mem *copy)
{
	int want_ret, ret, peek_ret;
	struct ref_result want;
	struct walk w, peek;

	memcpy(copy, &g->mem, sizeof(*copy));
	peek_ret = run(c, a, g, &peek_ops, &peek);
	ck_assert_msg(!memcmp(copy, &g->mem, sizeof(*copy)), "peeking changed memory");
	want = ref_walk(c, a, copy);
	want_ret = want.outcome == REF_OK ? 0 : want.outcome == REF_PF ? 1 : -EFAULT;
	ret = run(c, a, g, &guest_ops, &w);
	ck_assert_msg(ret == want_ret && peek_ret == ret,
		      "cr0 %lx cr4 %lx efer %llx cr3 %llx linear %llx: %d, not %d", c->cr0, c->cr4,
		      c->efer, c->cr3, a->linear, ret, want_ret);
	ck_assert_msg(!memcmp(copy, &g->mem, sizeof(*copy)),
		      "cr0 %lx cr4 %lx efer %llx linear %llx: A or D differ", c->cr0, c->cr4,
		      c->efer, a->linear);
	if (ret == 1)
		ck_assert_msg(w.error == want.error && peek.error == w.error,
			      "cr0 %lx cr4 %lx efer %llx: error %x, not %x", c->cr0, c->cr4,
			      c->efer, w.error, want.error);
	if (ret)
		return;
	ck_assert_msg(w.gpa == want.gpa && w.level == want.level && peek.gpa == w.gpa,
		      "cr4 %lx efer %llx: %llx/%d, not %llx/%d", c->cr4, c->efer, w.gpa, w.level,
		      want.gpa, want.level);
	ck_assert_msg(w.writable == want.writable && w.user == want.user && w.exec == want.exec,
		      "cr0 %lx cr4 %lx efer %llx: rights", c->cr0, c->cr4, c->efer);
}

/* Tables, and walks through each */
#define ROUNDS		300
#define WALKS		100

START_TEST(random_tables)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct mem *copy = malloc(sizeof(*copy));
	unsigned int i, j, seen[3] = { 0 }, rounds = getenv("UNIT_LONG") ? ROUNDS * 20 : ROUNDS;

	rnd_state += _i * 0x123456789ull + (getenv("UNIT_SEED") ? strtoull(getenv("UNIT_SEED"), NULL, 0) : 0);
	for (i = 0; i < rounds; i++) {
		struct ref_cpu c;

		random_cpu(&c);
		for (j = 0; j < MEM_SIZE; j += 8)
			put(g, j, c.cr4 & CR4_PAE ? random_entry(&c) : (u32)random_entry(&c) | random_entry(&c) << 32, 8);
		for (j = 0; j < WALKS; j++) {
			struct ref_access a;
			struct walk w;
			int ret;

			random_access(&a);
			ret = run(&c, &a, g, &peek_ops, &w);
			seen[ret < 0 ? 2 : ret]++;
			compare(&c, &a, g, copy);
		}
	}
	/* The comparison means something only if every outcome is frequent. */
	for (i = 0; i < 3; i++)
		ck_assert_msg(seen[i] > rounds * WALKS / 50, "outcome %u only %u times", i,
			      seen[i]);
	free(copy);
	free(g);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mmu walk");
	TCase *named = tcase_create("named"), *random = tcase_create("random");
	SRunner *r;
	int failed;

	tcase_add_loop_test(named, long_mode, 0, sizeof(long_cases) / sizeof(long_cases[0]));
	tcase_add_test(named, accessed_dirty);
	tcase_add_test(named, race);
	tcase_add_test(named, pae_pdptr);
	tcase_add_test(named, pse36);
	tcase_add_loop_test(random, random_tables, 0, 10);
	tcase_set_timeout(random, 600);
	suite_add_tcase(s, named);
	suite_add_tcase(s, random);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
