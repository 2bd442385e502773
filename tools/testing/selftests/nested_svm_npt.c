// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1's nested page tables in 4-level format: page sizes, rights, faults with their exact
 * EXITINFO, A and D, what L1 changes with and without a flush, memory that L2 reaches only through
 * them.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: as on bare hardware (APM vol. 2, "Nested Paging", "TLB Control").
 */
#include "npt.h"

static struct npt npt;

static void write_value(u64 addr, u64 value)
{
	npt_value = value;
	GUEST_ASSERT_DONE(NPT_WRITE, addr);
}

static void guest_sizes(void)
{
	u64 page;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_data_page(0x1111);
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	GUEST_ASSERT_READ(NPT_PLAY + 8, 0x1111);
	write_value(NPT_PLAY + 0x10, 0x2222);
	GUEST_ASSERT_EQ(*(u64 *)(page + 0x10), 0x2222);
	GUEST_ASSERT_DONE(NPT_FETCH, NPT_PLAY);
	/* 2M: the memory that the program is in, once more */
	npt_set(&npt, NPT_PLAY + (2 << 20), 2, (page & ~0x1fffffull) | NPT_RWX | PTE_PS);
	GUEST_ASSERT_READ(NPT_PLAY + (2 << 20) + (page & 0x1fffff) + 0x10, 0x2222);
	write_value(NPT_PLAY + (2 << 20) + (page & 0x1fffff) + 0x18, 0x3333);
	GUEST_ASSERT_EQ(*(u64 *)(page + 0x18), 0x3333);
	/* 1G, in the next gigabyte */
	npt_set(&npt, 2 * NPT_PLAY, 3, 0 | NPT_RWX | PTE_PS);
	GUEST_ASSERT_READ(2 * NPT_PLAY + page + 0x18, 0x3333);
	write_value(2 * NPT_PLAY + page + 0x20, 0x4444);
	GUEST_ASSERT_EQ(*(u64 *)(page + 0x20), 0x4444);
	GUEST_ASSERT_DONE(NPT_FETCH, 2 * NPT_PLAY + page);
	guest_done();
}

TEST(page_sizes)
{
	npt_run(guest_sizes);
}

struct fault_case {
	u64 set, clear;	/* against a page with all rights */
	enum npt_op op;
	u64 error;	/* 0: none */
};

static const struct fault_case fault_cases[] = {
	{ .op = NPT_READ },
	{ .op = NPT_WRITE },
	{ .op = NPT_FETCH },
	{ .clear = PTE_P, .op = NPT_READ, .error = PF_USER },
	{ .clear = PTE_P, .op = NPT_WRITE, .error = PF_USER | PF_WRITE },
	{ .clear = PTE_P, .op = NPT_FETCH, .error = PF_USER | PF_FETCH },
	{ .clear = PTE_W, .op = NPT_READ },
	{ .clear = PTE_W, .op = NPT_WRITE, .error = PF_PROT | PF_USER | PF_WRITE },
	{ .clear = PTE_U, .op = NPT_READ, .error = PF_PROT | PF_USER },
	{ .clear = PTE_U, .op = NPT_WRITE, .error = PF_PROT | PF_USER | PF_WRITE },
	{ .clear = PTE_U, .op = NPT_FETCH, .error = PF_PROT | PF_USER | PF_FETCH },
	{ .set = PTE_NX, .op = NPT_READ },
	{ .set = PTE_NX, .op = NPT_FETCH, .error = PF_PROT | PF_USER | PF_FETCH },
	{ .set = 1ull << 51, .op = NPT_READ, .error = PF_PROT | PF_USER | PF_RSVD },
	{ .set = 1ull << 51, .op = NPT_WRITE, .error = PF_PROT | PF_USER | PF_WRITE | PF_RSVD },
	{ .set = 1ull << 51, .op = NPT_FETCH, .error = PF_PROT | PF_USER | PF_FETCH | PF_RSVD },
	/* Ignored bits: available ones, G, protection keys */
	{ .set = 0x7f0000000000f00ull, .op = NPT_WRITE },
	{ .set = 0x7ull << 52 | 0x100, .op = NPT_WRITE },
};

/* Each case at each level of the way down but the uppermost, which has the program below it too */
static void guest_faults(void)
{
	u64 page, entry;
	unsigned int i;
	int level;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_data_page(1);
	svm_vmcb.tlb_ctl = 1;
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	for (level = 1; level <= 3; level++) {
		for (i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++) {
			const struct fault_case *t = &fault_cases[i];

			if (level > 1 && (t->set & 0x100))
				continue;
			entry = npt_get(&npt, NPT_PLAY, level);
			npt_set(&npt, NPT_PLAY, level, (entry | t->set) & ~t->clear);
			npt_value = 0x12345678000000c3ull;
			if (t->error)
				GUEST_ASSERT_NPF(t->op, NPT_PLAY, t->error | NPF_FINAL);
			else
				GUEST_ASSERT_DONE(t->op, NPT_PLAY);
			npt_set(&npt, NPT_PLAY, level, entry);
		}
	}
	/* PS where there is no such page */
	entry = npt_get(&npt, NPT_PLAY, 2);
	npt_set(&npt, NPT_PLAY, 2, page | NPT_RWX | PTE_PS | 1ull << 13);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	guest_done();
}

TEST(faults)
{
	npt_run(guest_faults);
}

/* The tables L2 walks are read as data is written, by a user; the fault says whose it was. */
static void guest_table_faults(void)
{
	u64 root, cr3 = read_cr3() & PTE_ADDR, i;

	npt_guest_init(&npt, NPT_4LEVEL);
	root = npt_page();
	for (i = 0; i < 512; i++)
		((u64 *)root)[i] = ((u64 *)cr3)[i];
	svm_vmcb.cr3 = NPT_PLAY;
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_EQ(npt_access(NPT_READ, GPA_HEAP), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_TABLE);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2 & ~0xfffull, NPT_PLAY);
	npt_set(&npt, NPT_PLAY, 1, root | (NPT_RWX & ~PTE_W));
	GUEST_ASSERT_EQ(npt_access(NPT_FETCH, GPA_HEAP), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_PROT | PF_USER | PF_WRITE | NPF_TABLE);
	npt_set(&npt, NPT_PLAY, 1, root | NPT_RWX | PTE_NX);
	GUEST_ASSERT_DONE(NPT_READ, GPA_HEAP);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	guest_done();
}

TEST(faults_on_tables_of_l2)
{
	npt_run(guest_table_faults);
}

static void guest_accessed_dirty(void)
{
	u64 page;
	int l;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_data_page(1);
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	for (l = 1; l < 4; l++)
		GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, l) & (PTE_A | PTE_D), 0);
	GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 2) & (PTE_A | PTE_D), PTE_A);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 3) & (PTE_A | PTE_D), PTE_A);
	/* The neighbour is untouched. */
	npt_set(&npt, NPT_PLAY + 4096, 1, page | NPT_RWX);
	GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY + 8);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY + 4096, 1) & (PTE_A | PTE_D), 0);
	write_value(NPT_PLAY, 0xc3);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 2) & (PTE_A | PTE_D), PTE_A);
	/* Cleared with a flush they are set again. */
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_DONE(NPT_READ, NPT_PLAY);
	svm_vmcb.tlb_ctl = 0;
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A);
	write_value(NPT_PLAY, 0xc3);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* A fault sets nothing. */
	npt_set(&npt, NPT_PLAY + 4096, 1, page | PTE_P | PTE_U);
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + 4096, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY + 4096, 1) & (PTE_A | PTE_D), 0);
	guest_done();
}

TEST(accessed_and_dirty)
{
	npt_run(guest_accessed_dirty);
}
