// SPDX-License-Identifier: GPL-2.0
/*
 * What: L2 in each paging mode of its own (none, 32-bit, PAE, 4 and 5 levels), on L1's memory and
 * on nested paging of L1's: reads, writes, fetches, its own page faults with their error codes, A
 * and D in its tables, large pages, nested page faults of its accesses and of its tables, accesses
 * that are emulated.
 * Conditions: guests are offered SVM (with nested paging); 5 levels: the CPU has them, and the host
 * uses them.
 * Expected: as on bare hardware (APM vol. 2, "Page-Fault Exception", "Nested Paging").
 */
#include <string.h>

#include "npt.h"

/* Linear address in L2 that the tests map as they like; not one of L2's physical ones */
#define TARGET	0x60000000ull

/* Not mapped by L1's nested tables */
#define NOWHERE	(NPT_PLAY + 0x5000)

/* L1's address of a device of userspace's, which L1 passes on, and what it reads as */
#define DEVICE		0x30000000ull
#define DEVICE_VALUE	0x11111111u

enum { NO_PAGING = 4 };

static struct npt l2, npt;
static volatile u64 l2_mode, nested_paging;

/* Reads the target, then writes it. */
asm(".pushsection .text\n"
    "l2_code32: .code32\n"
    "	mov l2_target, %ebx\n"
    "	mov (%ebx), %eax\n"
    "	mov %eax, l2_value\n"
    "	incl (%ebx)\n"
    "	vmmcall\n"
    "	.code64\n"
    "l2_code64:\n"
    "	mov l2_target, %ebx\n"
    "	mov (%rbx), %eax\n"
    "	mov %eax, l2_value\n"
    "	incl (%rbx)\n"
    "	vmmcall\n"
    "	.data\n"
    "	.balign 4\n"
    "l2_target: .long 0\n"
    "l2_value: .long 0\n"
    ".popsection");
extern const char l2_code32[], l2_code64[];
extern volatile u32 l2_target, l2_value;

static u64 run_at(u64 rip)
{
	svm_guest_restart((void (*)(void))rip);
	return svm_vmrun(&svm_vmcb);
}

static u64 run(void)
{
	return run_at((u64)(l2_mode == NPT_4LEVEL || l2_mode == NPT_5LEVEL ? l2_code64 : l2_code32));
}

#define ASSERT_DONE(old)							\
	do {									\
		GUEST_ASSERT_EQ(run(), SVM_EXIT_VMMCALL);			\
		GUEST_ASSERT_EQ(l2_value, old);					\
	} while (0)

/* For a reserved bit TCG leaves out that the page is present. */
static u64 lost_by_tcg(u64 error)
{
	return guest_under_tcg && (error & PF_RSVD) ? PF_PROT : 0;
}

/* A page fault of L2's own, which L1 intercepts */
#define ASSERT_PF(code, error)							\
	do {									\
		GUEST_ASSERT_EQ(code, SVM_EXIT_EXCP_BASE + PF_VECTOR);		\
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_1 | lost_by_tcg(error), error); \
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, l2_target);		\
	} while (0)

#define ASSERT_NPF(code, error, gpa)						\
	do {									\
		GUEST_ASSERT_EQ(code, EXIT_NPF);				\
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, error);			\
		GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, gpa);			\
	} while (0)

static void init(void)
{
	static const u64 cr4[] = { CR4_PSE, CR4_PAE, CR4_PAE, CR4_PAE | CR4_LA57, 0 };
	bool wide = l2_mode == NPT_4LEVEL || l2_mode == NPT_5LEVEL;

	if (nested_paging)
		npt_guest_init(&npt, NPT_4LEVEL);
	else
		svm_guest_init((void (*)(void))l2_code32);
	svm_vmcb.tlb_ctl = 1;
	svm_vmcb.intercept[2] = 1u << PF_VECTOR;
	svm_vmcb.cr4 = cr4[l2_mode];
	svm_vmcb.cr0 |= CR0_WP;
	svm_vmcb.efer |= EFER_NX;
	if (!wide) {
		svm_vmcb.efer &= ~(EFER_LME | EFER_LMA);
		svm_vmcb.cs = (struct svm_seg){ .selector = SEL_CODE32, .attrib = 0xc9b, .limit = ~0u };
	}
	if (l2_mode == NO_PAGING) {
		svm_vmcb.cr0 &= ~CR0_PG;
		return;
	}
	npt_init(&l2, l2_mode);
	svm_vmcb.cr3 = l2.root;
}

/* A page that begins with VMMCALL, so that it can be fetched from */
static u64 data_page(void)
{
	u64 page = npt_page();

	((volatile u32 *)page)[0] = 0xd9010f;
	((volatile u32 *)page)[2] = 100;
	return page;
}

static u64 bits(int level)
{
	return npt_get(&l2, TARGET, level) & (PTE_A | PTE_D);
}

/* L2's own tables */
static void own_faults(u64 page)
{
	u64 table;

	l2_target = TARGET + 8;
	npt_set(&l2, TARGET, 1, page | PTE_P);
	ASSERT_PF(run(), PF_PROT | PF_WRITE);
	GUEST_ASSERT_EQ(l2_value, 100);
	GUEST_ASSERT_EQ(bits(1), PTE_A);
	GUEST_ASSERT_EQ(bits(2), PTE_A);
	npt_set(&l2, TARGET, 1, page | PTE_P | PTE_W);
	ASSERT_DONE(100);
	ASSERT_DONE(101);
	GUEST_ASSERT_EQ(bits(1), PTE_A | PTE_D);
	GUEST_ASSERT_EQ(run_at(TARGET), SVM_EXIT_VMMCALL);
	npt_set(&l2, TARGET, 1, 0);
	ASSERT_PF(run(), 0);
	table = npt_get(&l2, TARGET, 2);
	npt_set(&l2, TARGET, 2, 0);
	ASSERT_PF(run(), 0);
	npt_set(&l2, TARGET, 2, table);
	npt_set(&l2, TARGET, 1, page | PTE_P | PTE_W);
	if (l2_mode == NPT_32BIT)
		return;
	npt_set(&l2, TARGET, 1, page | PTE_P | PTE_W | 1ull << 51);
	ASSERT_PF(run(), PF_PROT | PF_RSVD);
	npt_set(&l2, TARGET, 1, page | PTE_P | PTE_W | PTE_NX);
	ASSERT_DONE(102);
	l2_target = TARGET;
	ASSERT_PF(run_at(TARGET), PF_PROT | PF_FETCH);
	l2_target = TARGET + 8;
}

static void large_page(u64 page)
{
	u64 size = l2_mode == NPT_32BIT ? 4 << 20 : 2 << 20, at = TARGET + 8 * size, left = *(volatile u32 *)(page + 8);

	l2_target = at + (page & (size - 1)) + 8;
	npt_set(&l2, at, 2, (page & ~(size - 1)) | PTE_P | PTE_W | PTE_PS);
	ASSERT_DONE(left);
	GUEST_ASSERT_EQ(npt_get(&l2, at, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
	npt_set(&l2, at, 2, (page & ~(size - 1)) | PTE_P | PTE_PS);
	ASSERT_PF(run(), PF_PROT | PF_WRITE);
	/* Below the frame's number, where nothing may be */
	npt_set(&l2, at, 2, (page & ~(size - 1)) | PTE_P | PTE_W | PTE_PS | (l2_mode == NPT_32BIT ? 1 << 21 : 1 << 13));
	ASSERT_PF(run(), PF_PROT | PF_RSVD);
	l2_target = TARGET + 8;
}

/* What L2's tables lead to L1 has not mapped, or not mapped for this. */
static void nested_faults(u64 page)
{
	u64 table;

	npt_set(&l2, TARGET, 1, NOWHERE | PTE_P | PTE_W);
	ASSERT_NPF(run(), PF_USER | NPF_FINAL, NOWHERE + 8);
	npt_set(&npt, NOWHERE, 1, page | PTE_P | PTE_U);
	ASSERT_NPF(run(), PF_PROT | PF_USER | PF_WRITE | NPF_FINAL, NOWHERE + 8);
	npt_set(&npt, NOWHERE, 1, page | NPT_RWX | PTE_NX);
	ASSERT_DONE(*(volatile u32 *)(page + 8) - 1);
	ASSERT_NPF(run_at(TARGET), PF_PROT | PF_USER | PF_FETCH | NPF_FINAL, NOWHERE);
	/* The table that maps it */
	npt_set(&npt, NOWHERE, 1, 0);
	table = npt_get(&l2, TARGET, 2);
	npt_set(&l2, TARGET, 2, NOWHERE | NPT_RWX);
	GUEST_ASSERT_EQ(run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_TABLE);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2 & ~0xfffull, NOWHERE);
	npt_set(&npt, NOWHERE, 1, (table & PTE_ADDR) | PTE_P | PTE_U);
	GUEST_ASSERT_EQ(run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_PROT | PF_USER | PF_WRITE | NPF_TABLE);
	npt_set(&npt, NOWHERE, 1, (table & PTE_ADDR) | NPT_RWX);
	*(volatile u64 *)(table & PTE_ADDR) = page | PTE_P | PTE_W;
	ASSERT_DONE(*(volatile u32 *)(page + 8) - 1);
	npt_set(&l2, TARGET, 2, table);
}

/* Accesses that L0 emulates: a walk of L2's tables by software, behind the CPU's own */
static void emulated(void)
{
	u64 left = npt_get(&l2, TARGET, 1), i;

	npt_set(&l2, TARGET, 1, (nested_paging ? NOWHERE : DEVICE) | PTE_P | PTE_W);
	if (nested_paging)
		npt_set(&npt, NOWHERE, 1, DEVICE | NPT_RWX);
	svm_vmcb.tlb_ctl = 1;
	for (i = 0; i < 2; i++)
		ASSERT_DONE(DEVICE_VALUE);
	npt_set(&l2, TARGET, 1, left);
}

static void guest_l2(void)
{
	u64 page;

	init();
	page = data_page();
	if (l2_mode == NO_PAGING) {
		l2_target = page + 8;
		ASSERT_DONE(100);
		ASSERT_DONE(101);
		GUEST_ASSERT_EQ(run_at(page), SVM_EXIT_VMMCALL);
		if (nested_paging) {
			l2_target = NOWHERE + 8;
			ASSERT_NPF(run(), PF_USER | NPF_FINAL, NOWHERE + 8);
		}
		guest_done();
	}
	own_faults(page);
	large_page(page);
	if (nested_paging)
		nested_faults(page);
	emulated();
	guest_done();
}

static void run_with_device(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned int i;

	/* Twice a read, a read and a write */
	for (i = 0; i < 6; i++) {
		RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
		CHECK_EQ(run->mmio.phys_addr, DEVICE + 8);
		CHECK_EQ(run->mmio.len, 4);
		CHECK_EQ(run->mmio.is_write, i % 3 == 2);
		if (run->mmio.is_write)
			CHECK_EQ(*(u32 *)run->mmio.data, DEVICE_VALUE + 1);
		else
			memset(run->mmio.data, 0x11, 4);
	}
	RUN_UNTIL_DONE(vcpu);
}

static void run_l2(u64 mode, bool paging)
{
	struct vm *vm;

	if (paging)
		need_npt();
	else
		need_svm();
	vm = vm_create(1);
	*guest_var(vm, &l2_mode) = mode;
	*guest_var(vm, &nested_paging) = paging;
	vcpu_set_long(vm->vcpu, guest_l2, 0);
	if (mode == NO_PAGING)
		RUN_UNTIL_DONE(vm->vcpu);
	else
		run_with_device(vm->vcpu);
	vm_destroy(vm);
}

TEST(no_paging)			{ run_l2(NO_PAGING, false); }
TEST(no_paging_nested)		{ run_l2(NO_PAGING, true); }
TEST(paging_32bit)		{ run_l2(NPT_32BIT, false); }
TEST(paging_32bit_nested)	{ run_l2(NPT_32BIT, true); }
TEST(paging_pae)		{ run_l2(NPT_PAE, false); }
TEST(paging_pae_nested)		{ run_l2(NPT_PAE, true); }
TEST(paging_4_levels)		{ run_l2(NPT_4LEVEL, false); }
TEST(paging_4_levels_nested)	{ run_l2(NPT_4LEVEL, true); }

TEST(paging_5_levels)
{
	need_la57();
	run_l2(NPT_5LEVEL, false);
}

TEST(paging_5_levels_nested)
{
	need_la57();
	run_l2(NPT_5LEVEL, true);
}
