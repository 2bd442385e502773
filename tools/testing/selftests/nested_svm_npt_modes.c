// SPDX-License-Identifier: GPL-2.0
/*
 * What: L1's nested page tables in every paging mode of L1: 32-bit, PAE, 4 and 5 levels; a 64-bit
 * L2 under each.
 * Conditions: guests are offered SVM with nested paging; 5 levels: the CPU has them, and the host
 * uses them.
 * Expected: the format is that of L1's own paging at VMRUN (APM vol. 2, "Nested Paging", "Legacy
 * PAE Mode").
 */
#include "npt.h"

static struct npt npt;

/* Pages of both sizes, rights, A and D, what more and less does */
static void common(enum npt_mode mode)
{
	u64 large = mode == NPT_32BIT ? 4 << 20 : 2 << 20, a, b;

	npt_guest_init(&npt, mode);
	a = npt_data_page(1);
	b = npt_data_page(2);
	npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX);
	npt_set(&npt, NPT_PLAY + large - 4096, 1, b | NPT_RWX);
	GUEST_ASSERT_READ(NPT_PLAY + 8, 1);
	GUEST_ASSERT_READ(NPT_PLAY + large - 4096 + 8, 2);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A);
	GUEST_ASSERT_DONE(NPT_FETCH, NPT_PLAY);
	npt_value = 3;
	GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + 8);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	GUEST_ASSERT_EQ(((volatile u64 *)a)[1], 3);
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + 4096, PF_USER | PF_WRITE | NPF_FINAL);
	npt_set(&npt, NPT_PLAY + 4096, 1, b | PTE_P | PTE_U);
	GUEST_ASSERT_READ(NPT_PLAY + 4096 + 8, 2);
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY + 4096, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
	npt_set(&npt, NPT_PLAY + 8192, 1, b | PTE_P | PTE_W);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY + 8192, PF_PROT | PF_USER | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, b | NPT_RWX);
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_READ(NPT_PLAY + 8, 2);
	svm_vmcb.tlb_ctl = 0;

	/* A large page, both halves of a 4M one */
	npt_set(&npt, NPT_PLAY + 4 * large, 2, (a & ~(large - 1)) | NPT_RWX | PTE_PS);
	GUEST_ASSERT_READ(NPT_PLAY + 4 * large + (a & (large - 1)) + 8, 3);
	GUEST_ASSERT_READ(NPT_PLAY + 4 * large + ((b & (large - 1)) ^ 0x200000 % large) + 8, *(u64 *)((b ^ 0x200000 % large) + 8));
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY + 4 * large, 2) & (PTE_A | PTE_D), PTE_A);
	npt_value = 4;
	GUEST_ASSERT_DONE(NPT_WRITE, NPT_PLAY + 4 * large + (a & (large - 1)) + 8);
	GUEST_ASSERT_EQ(((volatile u64 *)a)[1], 4);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY + 4 * large, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* All of the four gigabytes: a page in the last of them */
	npt_set(&npt, 0xfffff000, 1, b | NPT_RWX);
	GUEST_ASSERT_READ(0xfffff008, 2);
}

static void guest_32bit(void)
{
	common(NPT_32BIT);
	/* No NX, and a reserved bit */
	npt_set(&npt, 2 * NPT_PLAY, 2, 1 << 21 | NPT_RWX | PTE_PS);
	GUEST_ASSERT_NPF(NPT_READ, 2 * NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	guest_done();
}

static void guest_pae(void)
{
	u64 pointers, a, i;

	common(NPT_PAE);
	a = npt_data_page(5);
	npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX | PTE_NX);
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_NPF(NPT_FETCH, NPT_PLAY, PF_PROT | PF_USER | PF_FETCH | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX | 1ull << 62);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	npt_set(&npt, NPT_PLAY, 1, a | NPT_RWX);
	/*
	 * The pointers anywhere on 32 bytes, at the end of a page, with nonsense below
	 * (CVE-2024-50115)
	 */
	pointers = npt_page() + 4096 - 32;
	for (i = 0; i < 4; i++)
		((volatile u64 *)pointers)[i] = ((volatile u64 *)npt.root)[i];
	svm_vmcb.ncr3 = pointers | 0x1f;
	GUEST_ASSERT_READ(NPT_PLAY + 8, 5);
	/* Reserved bits of a pointer matter when it is used. */
	((volatile u64 *)pointers)[1] |= PTE_W;
	GUEST_ASSERT_READ(a + 8, 5);
	GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	((volatile u64 *)pointers)[1] = 0;
	GUEST_ASSERT_NPF(NPT_WRITE, NPT_PLAY, PF_USER | PF_WRITE | NPF_FINAL);
	guest_done();
}

static void levels(enum npt_mode mode)
{
	u64 a;

	common(mode);
	a = npt_data_page(6);
	npt_set(&npt, 2 * NPT_PLAY, 3, NPT_RWX | PTE_PS);
	GUEST_ASSERT_READ(2 * NPT_PLAY + a + 8, 6);
	npt_set(&npt, 2 * NPT_PLAY, 3, NPT_RWX | PTE_PS | 1 << 13);
	svm_vmcb.tlb_ctl = 1;
	GUEST_ASSERT_NPF(NPT_READ, 2 * NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
	guest_done();
}

static void guest_4level(void)
{
	levels(NPT_4LEVEL);
}

static void guest_5level(void)
{
	levels(NPT_5LEVEL);
}

/* What L1's EFER says about the bit when it runs L2, without a flush */
static void guest_nxe(void)
{
	u64 efer, i;

	npt_guest_init(&npt, NPT_4LEVEL);
	efer = rdmsr(MSR_EFER);
	npt_set(&npt, NPT_PLAY, 1, npt_data_page(9) | NPT_RWX | PTE_NX);
	for (i = 0; i < 3; i++) {
		wrmsr(MSR_EFER, efer & ~EFER_NX);
		GUEST_ASSERT_NPF(NPT_READ, NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
		GUEST_ASSERT_NPF(NPT_FETCH, NPT_PLAY, PF_PROT | PF_USER | PF_RSVD | NPF_FINAL);
		wrmsr(MSR_EFER, efer | EFER_NX);
		GUEST_ASSERT_READ(NPT_PLAY + 8, 9);
		GUEST_ASSERT_NPF(NPT_FETCH, NPT_PLAY, PF_PROT | PF_USER | PF_FETCH | NPF_FINAL);
	}
	guest_done();
}

TEST(l1_32bit) { npt_run(guest_32bit); }
TEST(l1_pae) { npt_run(guest_pae); }
TEST(l1_4_levels) { npt_run(guest_4level); }
TEST(l1_with_and_without_nx) { npt_run(guest_nxe); }

TEST(l1_5_levels)
{
	need_la57();
	npt_run(guest_5level);
}
