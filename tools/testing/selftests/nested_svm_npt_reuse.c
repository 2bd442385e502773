// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1 makes one of its nested page tables, changed meanwhile, reachable at an address of L2's
 * where nothing was: in the same tables, in those of another L2, with another table below it.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: no CPU has translations of that address, so L1 need not flush: L2 finds what the table
 * says now.
 */
#include "npt.h"

#define STEP	(2ull << 20)
#define FAR	(2 * NPT_PLAY)

static struct npt npt, other;
static u64 a, b;

static void prepare(void)
{
	npt_guest_init(&other, NPT_4LEVEL);
	npt_guest_init(&npt, NPT_4LEVEL);
	a = npt_data_page(1);
	b = npt_data_page(2);
}

/* Two neighbours; the first access after the table has moved is to the first one. */
static void set_pair(struct npt *n, u64 addr, u64 second)
{
	npt_set(n, addr, 1, a | NPT_RWX);
	npt_set(n, addr + 4096, 1, second | NPT_RWX);
}

static void expect_pair(u64 addr, u64 second)
{
	GUEST_ASSERT_READ(addr + 8, 1);
	GUEST_ASSERT_READ(addr + 4096 + 8, second);
}

static void use(const struct npt *n, u64 asid)
{
	svm_vmcb.ncr3 = n->root;
	svm_vmcb.asid = asid;
}

static void guest_same(void)
{
	prepare();
	set_pair(&npt, NPT_PLAY, a);
	expect_pair(NPT_PLAY, 1);
	set_pair(&npt, NPT_PLAY, b);
	npt_set(&npt, NPT_PLAY + STEP, 2, npt_get(&npt, NPT_PLAY, 2));
	expect_pair(NPT_PLAY + STEP, 2);
	guest_done();
}

TEST(table_at_another_address)
{
	npt_run(guest_same);
}

/* A pair in both. The first L2 is not run again, and not flushed. */
static void prepare_both(void)
{
	prepare();
	set_pair(&other, NPT_PLAY, a);
	use(&other, 2);
	expect_pair(NPT_PLAY, 1);
	set_pair(&npt, NPT_PLAY, a);
	use(&npt, 1);
	expect_pair(NPT_PLAY, 1);
}

static void guest_other(void)
{
	u64 table;

	prepare_both();
	set_pair(&npt, NPT_PLAY, b);
	table = npt_get(&npt, NPT_PLAY, 2);
	npt_set(&npt, NPT_PLAY, 2, 0);
	npt_set(&other, NPT_PLAY + STEP, 2, table);
	use(&other, 2);
	expect_pair(NPT_PLAY + STEP, 2);
	guest_done();
}

TEST(table_of_another_l2)
{
	npt_run(guest_other);
}

/* What has moved is two levels above what has changed. */
static void guest_directory(void)
{
	u64 directory;

	prepare_both();
	directory = npt_get(&npt, NPT_PLAY, 3);
	set_pair(&npt, NPT_PLAY, b);
	npt_set(&other, FAR, 3, directory);
	use(&other, 2);
	expect_pair(FAR, 2);
	expect_pair(NPT_PLAY, 1);
	guest_done();
}

TEST(directory_of_another_l2)
{
	npt_run(guest_directory);
}
