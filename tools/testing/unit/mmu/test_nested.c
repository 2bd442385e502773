// SPDX-License-Identifier: GPL-2.0
/*
 * Suite of the walk of L1's nested tables: every format against the reference walker on random
 * tables, and what nested paging does in its own way: the reach of the tables, nCR3's low bits, the
 * pointers of PAE.
 */
#include "ref_walk.h"
#include "../../../../arch/x86/mmu/nested_pure.h"

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
#define PS	0x80ull
#define NX	(1ull << 63)

static int mem_read(void *ctx, u64 gpa, u64 *entry, unsigned int size)
{
	struct mem *m = ctx;

	if (gpa > MEM_SIZE - size)
		return -EFAULT;
	*entry = 0;
	memcpy(entry, &m->byte[gpa], size);
	return 0;
}

static int mem_cmpxchg(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size)
{
	struct mem *m = ctx;

	ck_assert(gpa <= MEM_SIZE - size);
	/* Two levels of a walk may meet in one entry: the walk starts again. */
	if (memcmp(&m->byte[gpa], &old, size))
		return -EAGAIN;
	memcpy(&m->byte[gpa], &new, size);
	return 0;
}

static const struct walk_ops ops = { .read = mem_read, .cmpxchg = mem_cmpxchg };
static const struct walk_ops peek_ops = { .read = mem_read };

static void put(struct mem *m, u64 at, u64 entry, int size)
{
	memcpy(&m->byte[at], &entry, size);
}

static u64 get(const struct mem *m, u64 at, int size)
{
	u64 entry = 0;

	memcpy(&entry, &m->byte[at], size);
	return entry;
}

static int run(const struct ref_cpu *c, u64 root, u64 gpa, u32 access, const struct walk_ops *o,
	       struct mem *m, struct walk *w, struct walk_path *path)
{
	struct walk_cpuid cpuid = { .maxphyaddr = c->maxphyaddr, .gbpages = c->gbpages, .amd = c->amd };
	struct nested_mode mode;

	nested_mode_init(&mode, c->cr4, c->efer, &cpuid);
	return nested_walk(&mode, root, gpa, access, o, m, w, path);
}

/* L1's host in long mode, tables at 0x1000 and on, always index 0 */
static const struct ref_cpu host64 = { .cr4 = CR4_PAE, .efer = EFER_LMA | EFER_NXE, .maxphyaddr = 40, .gbpages = true, .amd = true };

static void tables64(struct mem *m, u64 leaf)
{
	put(m, 0x1000, 0x2000 | P | W | U, 8);
	put(m, 0x2000, 0x3000 | P | W | U, 8);
	put(m, 0x3000, 0x4000 | P | W | U, 8);
	put(m, 0x4000, leaf, 8);
}

struct leaf_case {
	const char *name;
	u64 leaf;
	u32 access;
	int ret;
	u32 error;
};

/*
 * The CPU asks as a user: U must be there, WP, SMEP, SMAP and keys have no say, and the error code
 * says U.
 */
static const struct leaf_case leaf_cases[] = {
	{ "read", 0x5000 | P | U, 0, 0, 0 },
	{ "supervisor page", 0x5000 | P | W, 0, 1, 5 },
	{ "write to read-only", 0x5000 | P | U, ACCESS_WRITE, 1, 7 },
	{ "write", 0x5000 | P | W | U, ACCESS_WRITE, 0, 0 },
	{ "fetch", 0x5000 | P | U, ACCESS_FETCH, 0, 0 },
	{ "fetch, NX", 0x5000 | P | U | NX, ACCESS_FETCH, 1, 0x15 },
	{ "not present", 0x5000 | W | U, ACCESS_WRITE, 1, 6 },
	{ "fetch, not present", 0, ACCESS_FETCH, 1, 0x14 },
	{ "reserved", 1ull << 40 | P | U, ACCESS_WRITE, 1, 0xf },
	{ "key with all rights denied", 0x5000 | P | U | 15ull << 59, 0, 0, 0 },
};

START_TEST(leaf)
{
	const struct leaf_case *t = &leaf_cases[_i];
	struct ref_cpu c = host64;
	struct walk_path path;
	struct mem m = { };
	struct walk w;
	int ret;

	c.cr4 |= CR4_SMEP | CR4_SMAP | CR4_PKE;
	tables64(&m, t->leaf);
	ret = run(&c, 0x1fff, 0x123, t->access, &ops, &m, &w, &path);
	ck_assert_msg(ret == t->ret, "%s: returns %d, not %d", t->name, ret, t->ret);
	if (ret)
		ck_assert_msg(w.error == t->error, "%s: error %x, not %x", t->name, w.error,
			      t->error);
	else
		ck_assert_msg(w.gpa == 0x5123, "%s: %llx", t->name, w.gpa);
}
END_TEST

/* Beyond what the tables reach nothing is present, whatever would be found by cutting bits off. */
START_TEST(reach)
{
	struct ref_cpu c = host64;
	struct walk_path path;
	struct mem m = { };
	struct walk w;

	tables64(&m, 0x5000 | P | W | U);
	ck_assert_int_eq(run(&c, 0x1000, 1ull << 48, ACCESS_WRITE, &ops, &m, &w, &path), 1);
	ck_assert_uint_eq(w.error, 6);
	c.cr4 |= CR4_LA57;
	put(&m, 0x6000, 0x1000 | P | W | U, 8);
	ck_assert_int_eq(run(&c, 0x6000, 0x123, 0, &ops, &m, &w, &path), 0);
	ck_assert_int_eq(run(&c, 0x6000, 1ull << 57, 0, &ops, &m, &w, &path), 1);
	c = (struct ref_cpu) { .maxphyaddr = 40 };
	put(&m, 0x1000, 0x2000 | P | W | U, 4);
	put(&m, 0x2000, 0x5000 | P | W | U, 4);
	ck_assert_int_eq(run(&c, 0x1000, 0x123, 0, &ops, &m, &w, &path), 0);
	ck_assert_uint_eq(w.gpa, 0x5123);
	ck_assert_int_eq(run(&c, 0x1000, 1ull << 32, 0, &ops, &m, &w, &path), 1);
	ck_assert_uint_eq(w.error, 4);
}
END_TEST

/*
 * The pointers lie at nCR3[31:5]: its lowest bits must not move them. Each is checked when it is
 * used, and only then.
 */
START_TEST(pae_pointers)
{
	struct ref_cpu c = { .cr4 = CR4_PAE, .efer = EFER_NXE, .maxphyaddr = 36 };
	u64 root = 0x5fe0 | 0x1f | 0xffffffff00000000ull;
	struct walk_path path;
	struct mem m = { };
	struct walk w;

	put(&m, 0x5fe0, 0x2000 | P, 8);
	put(&m, 0x5fe8, 0x2000 | P | W, 8);
	put(&m, 0x5ff0, 0, 8);
	put(&m, 0x5ff8, 0x2000 | P | 1ull << 36, 8);
	put(&m, 0x2000, 0x200000 | P | W | U | PS, 8);
	ck_assert_int_eq(run(&c, root, 0x1234, ACCESS_WRITE, &ops, &m, &w, &path), 0);
	ck_assert_uint_eq(w.gpa, 0x201234);
	ck_assert_int_eq(path.top, 3);
	ck_assert_int_eq(path.level, 2);
	ck_assert_uint_eq(path.step[3].gpa, 0x5fe0);
	ck_assert_uint_eq(path.step[3].entry, 0x2000 | P);
	ck_assert_int_eq(run(&c, root, 0x40000000, 0, &ops, &m, &w, &path), 1);
	ck_assert_uint_eq(w.error, 0xd);
	ck_assert_int_eq(run(&c, root, 0x80000000, ACCESS_WRITE, &ops, &m, &w, &path), 1);
	ck_assert_uint_eq(w.error, 6);
	ck_assert_int_eq(run(&c, root, 0xc0000000, ACCESS_FETCH, &ops, &m, &w, &path), 1);
	ck_assert_uint_eq(w.error, 0x1d);
}
END_TEST

/* Memory types: L1's PAT says what an entry means, the host's how the shadow says it. */
#define PAT_RESET	0x0007040600070406ull	/* WB WT UC- UC, twice */
#define PAT_LINUX	0x0407050600070106ull	/* WB WC UC- UC WB WP UC- WT */

struct memtype_case {
	const char *name;
	u64 entry;
	int level;
	u64 l1_pat, host_pat;
	unsigned int index;
};

static const struct memtype_case memtype_cases[] = {
	{ "WB", P, 1, PAT_RESET, PAT_LINUX, 0 },
	{ "WT", P | 0x08, 1, PAT_RESET, PAT_LINUX, 7 },
	{ "UC-", P | 0x10, 1, PAT_RESET, PAT_LINUX, 2 },
	{ "UC", P | 0x18, 1, PAT_RESET, PAT_LINUX, 3 },
	{ "PAT bit of a 4K entry", P | 0x88, 1, PAT_LINUX, PAT_LINUX, 5 },
	{ "PAT bit of a large entry", P | PS | 0x1008, 2, PAT_LINUX, PAT_LINUX, 5 },
	{ "bit 7 of a large entry is not PAT", P | PS | 0x08, 2, PAT_LINUX, PAT_LINUX, 1 },
	{ "WC", P | 0x08, 1, PAT_LINUX, PAT_LINUX, 1 },
	{ "WC on a host without", P | 0x08, 1, PAT_LINUX, PAT_RESET, 3 },
	{ "UC on a host without", P | 0x18, 1, PAT_RESET, 0x0606060606070606ull, 2 },
};

START_TEST(memtype)
{
	const struct memtype_case *t = &memtype_cases[_i];
	unsigned int index = nested_memtype(t->entry, t->level, t->l1_pat, t->host_pat);

	ck_assert_msg(index == t->index, "%s: %u, not %u", t->name, index, t->index);
	/* An entry with these bits has that index again. */
	ck_assert_uint_eq(nested_memtype(nested_memtype_bits(index, 1), 1, PAT_LINUX, PAT_LINUX) %
				  4,
			  index % 4);
	ck_assert_uint_eq(nested_memtype_bits(5, 1), 0x88);
	ck_assert_uint_eq(nested_memtype_bits(5, 2), 0x1008);
}
END_TEST

/* ---- random comparison ---- */

static u64 rnd_state;

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

static u64 random_entry(u8 maxphyaddr)
{
	u64 entry = (rnd() % MEM_PAGES) << 12 | P | W | U;

	if (one_in(5))
		entry = (entry & 0xfff) | (rnd() & ((1ull << maxphyaddr) - 1) & ~0xfffull);
	if (one_in(3))
		entry = (entry & ~0x1ff000ull) | (one_in(2) ? PS : 0);
	if (one_in(6))
		entry &= ~(1ull << (rnd() % 3));
	if (one_in(4))
		entry |= 1ull << (rnd() % 64);
	if (one_in(2))
		entry |= rnd() & 0x60;
	return entry;
}

/* @_i: 32-bit, PAE, 4 levels, 5 levels */
static void random_host(struct ref_cpu *c, int format)
{
	static const u8 widths[] = { 32, 36, 39, 40, 46, 48, 52 };

	*c = (struct ref_cpu) {
		.cr0 = CR0_PG | CR0_WP,
		.cr4 = rnd() & (CR4_PSE | CR4_SMEP),
		.efer = rnd() & EFER_NXE,
		.maxphyaddr = widths[rnd() % 7],
		.gbpages = one_in(2),
		.amd = one_in(2),
	};
	if (format > 0)
		c->cr4 |= CR4_PAE;
	if (format > 1)
		c->efer |= EFER_LMA;
	if (format > 2)
		c->cr4 |= CR4_LA57;
}

static u64 random_gpa(int format)
{
	static const u64 sizes[] = { 1ull << 32, 1ull << 32, 1ull << 48, 1ull << 57 };

	return rnd() % sizes[format];
}

static void check_path(const struct walk_path *path, const struct mem *m, int format, int level)
{
	int size = format ? 8 : 4, i;

	ck_assert_int_eq(path->level, level);
	/* Where two levels meet in one entry, the lower one may have added D. */
	for (i = path->top; i >= path->level; i--)
		ck_assert_uint_eq(
			(path->step[i].entry ^ get(m, path->step[i].gpa, size)) & ~0x40ull, 0);
}

static int compare(const struct ref_cpu *c, u64 root, int format, struct mem *m, struct mem *copy)
{
	struct ref_access a = { .linear = random_gpa(format), .write = one_in(2), .user = true };
	struct walk_path path;
	struct ref_result want;
	struct walk w, peek;
	u32 access;
	int ret;

	a.fetch = !a.write && one_in(2);
	access = (a.write ? ACCESS_WRITE : 0) | (a.fetch ? ACCESS_FETCH : 0);
	memcpy(copy, m, sizeof(*copy));
	ret = run(c, root, a.linear, access, &peek_ops, m, &peek, &path);
	ck_assert_msg(!memcmp(copy, m, sizeof(*copy)), "peeking changed memory");
	want = ref_walk(c, &a, copy);
	ck_assert_int_eq(ret, want.outcome == REF_OK ? 0 : want.outcome == REF_PF ? 1 : -EFAULT);
	ck_assert_int_eq(run(c, root, a.linear, access, &ops, m, &w, &path), ret);
	ck_assert_msg(!memcmp(copy, m, sizeof(*copy)), "A or D differ");
	if (ret == 1)
		ck_assert_msg(w.error == want.error, "gpa %llx: error %x, not %x", a.linear,
			      w.error, want.error);
	if (ret)
		return ret;
	ck_assert_msg(w.gpa == want.gpa && w.level == want.level && w.writable == want.writable &&
			      w.exec == want.exec,
		      "cr4 %lx efer %llx gpa %llx: %llx/%d, not %llx/%d", c->cr4, c->efer, a.linear,
		      w.gpa, w.level, want.gpa, want.level);
	check_path(&path, m, format, w.level);
	return 0;
}

#define ROUNDS		300
#define WALKS		100

START_TEST(random_tables)
{
	unsigned int i, j, seen[3] = { 0 }, rounds = getenv("UNIT_LONG") ? ROUNDS * 20 : ROUNDS;
	struct mem *m = malloc(sizeof(*m)), *copy = malloc(sizeof(*copy));

	rnd_state = 0x9e3779b97f4a7c15ull + _i * 0x123456789ull;
	rnd_state += getenv("UNIT_SEED") ? strtoull(getenv("UNIT_SEED"), NULL, 0) : 0;
	for (i = 0; i < rounds; i++) {
		u64 root = (rnd() % MEM_PAGES) << 12 | (rnd() & 0xfff);
		struct ref_cpu c;

		random_host(&c, _i);
		for (j = 0; j < MEM_SIZE; j += 8)
			put(m, j, _i ? random_entry(c.maxphyaddr) : (u32)random_entry(32) | random_entry(32) << 32, 8);
		c.cr3 = root;
		if (_i == 1) {
			root &= ~0x1full;
			/* The reference has its pointers in registers. */
			for (j = 0; j < 4; j++) {
				c.pdptr[j] = (rnd() % MEM_PAGES) << 12 | !one_in(5);
				put(m, root + j * 8, c.pdptr[j], 8);
			}
		}
		for (j = 0; j < WALKS; j++) {
			int ret = compare(&c, root, _i, m, copy);

			seen[ret < 0 ? 2 : ret]++;
			/* A walk may have set A in an entry that is a pointer, too. */
			if (_i == 1)
				memcpy(c.pdptr, &m->byte[root], sizeof(c.pdptr));
			if (_i == 1 && (c.pdptr[0] | c.pdptr[1] | c.pdptr[2] | c.pdptr[3]) &
					       walk_pdptr_rsvd(c.maxphyaddr))
				break;
		}
	}
	/* The comparison means something only if every outcome is frequent. */
	for (i = 0; i < 2; i++)
		ck_assert_msg(seen[i] > rounds * WALKS / 50, "outcome %u only %u times", i,
			      seen[i]);
	free(copy);
	free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mmu nested walk");
	TCase *named = tcase_create("named"), *random = tcase_create("random");
	SRunner *r;
	int failed;

	tcase_add_loop_test(named, leaf, 0, sizeof(leaf_cases) / sizeof(leaf_cases[0]));
	tcase_add_test(named, reach);
	tcase_add_test(named, pae_pointers);
	tcase_add_loop_test(named, memtype, 0, sizeof(memtype_cases) / sizeof(memtype_cases[0]));
	tcase_add_loop_test(random, random_tables, 0, 4);
	tcase_set_timeout(random, 600);
	suite_add_tcase(s, named);
	suite_add_tcase(s, random);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
