// SPDX-License-Identifier: GPL-2.0
/*
 * What: L2 under L1's nested page tables where L0 does its accesses: an instruction that is
 * emulated, and meets pages that L1's tables do not have; VMLOAD and VMSAVE that L1 leaves to L2;
 * tables of L2's in a ROM; L2 saved and restored in another VM.
 * Conditions: guests are offered SVM with nested paging.
 * Expected: L1 gets the nested page fault that the CPU would have found, the instruction has done
 * nothing; addresses of L2 are L2's.
 */
#include <errno.h>
#include <string.h>

#include "npt.h"
#include "state.h"

#define HOLE		0x30000000ull	/* L1's: no memory */
#define L2_DEVICE	(2 * NPT_PLAY)	/* L2's address of it */

static struct npt npt;

static u64 l1_run(void)
{
	return svm_vmrun(&svm_vmcb);
}

/* From the device to memory, in one instruction */
static void l2_copy(void)
{
	asm volatile("movsq" : : "S"(L2_DEVICE + 0x40), "D"(NPT_PLAY + 0x10) : "memory");
	vmmcall();
}

static void guest_copy(void)
{
	u64 page, root, i, cr3 = read_cr3() & PTE_ADDR;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = npt_page();
	npt_set(&npt, L2_DEVICE, 1, HOLE | NPT_RWX);
	svm_guest_restart(l2_copy);
	GUEST_ASSERT_EQ(l1_run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_FINAL);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY + 0x10);
	npt_set(&npt, NPT_PLAY, 1, page | PTE_P | PTE_U);
	GUEST_ASSERT_EQ(l1_run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_PROT | PF_USER | PF_WRITE | NPF_FINAL);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), 0);
	npt_set(&npt, NPT_PLAY, 1, page | NPT_RWX);
	GUEST_ASSERT_EQ(l1_run(), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(((volatile u64 *)page)[2], 0x2222222222222222ull);
	GUEST_ASSERT_EQ(npt_get(&npt, NPT_PLAY, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);

	/* A table of L2's goes while the device is asked: the walk of the destination finds it. */
	root = npt_page();
	for (i = 0; i < 512; i++)
		((u64 *)root)[i] = ((u64 *)cr3)[i];
	npt_set(&npt, NPT_PLAY + 0x5000, 1, root | NPT_RWX);
	svm_vmcb.cr3 = NPT_PLAY + 0x5000;
	svm_vmcb.tlb_ctl = 1;
	svm_guest_restart(l2_copy);
	guest_sync(npt_at(&npt, NPT_PLAY + 0x5000, 1));
	GUEST_ASSERT_EQ(l1_run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_TABLE);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY + 0x5000);
	guest_done();
}

static void serve(struct vcpu *vcpu, u8 byte)
{
	struct kvm_run *run = vcpu->run;

	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, HOLE + 0x40);
	CHECK_EQ(run->mmio.is_write, 0);
	memset(run->mmio.data, byte, 8);
}

TEST(emulated_access)
{
	struct vm *vm;
	int i;

	need_npt();
	STRATA_ONLY("the in-tree module does not look at L2's tables in this order");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_copy, 0);
	for (i = 0; i < 3; i++)
		serve(vm->vcpu, 0x22);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	serve(vm->vcpu, 0x33);
	*(u64 *)gpa_to_host(vm, vcpu_sync_value(vm->vcpu)) = 0;
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* VMSAVE, change, VMLOAD by L2 in a page that only its own addresses lead to */
static void l2_vmsave(void)
{
	asm volatile("vmsave %%rax" : : "a"(NPT_PLAY) : "memory");
	wrmsr(MSR_KERNEL_GS_BASE, 0x9000);
	asm volatile("vmload %%rax" : : "a"(NPT_PLAY) : "memory");
	npt_value = rdmsr(MSR_KERNEL_GS_BASE);
	vmmcall();
}

static void guest_vmsave(void)
{
	struct svm_vmcb *page;

	npt_guest_init(&npt, NPT_4LEVEL);
	page = (void *)npt_page();
	wrmsr(MSR_KERNEL_GS_BASE, 0x7000);
	svm_guest_restart(l2_vmsave);
	GUEST_ASSERT_EQ(l1_run(), EXIT_NPF);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_1, PF_USER | PF_WRITE | NPF_FINAL);
	GUEST_ASSERT_EQ(svm_vmcb.exit_info_2, NPT_PLAY);
	npt_set(&npt, NPT_PLAY, 1, (u64)page | NPT_RWX);
	GUEST_ASSERT_EQ(l1_run(), SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(page->kernel_gs_base, 0x7000);
	GUEST_ASSERT_EQ(npt_value, 0x7000);
	guest_done();
}

TEST(vmload_by_l2)
{
	STRATA_ONLY("the in-tree module takes L2's address for L1's");
	npt_run(guest_vmsave);
}

/* ---- what only the CPU could do ---- */

#define ROM	0x20000000ull

static void l2_in_rom(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	vmmcall();
}

/* Without nested paging L2's tables are at L1's addresses. */
static void guest_rom(void)
{
	svm_guest_init(l2_in_rom);
	svm_vmcb.cr3 = ROM;
	GUEST_ASSERT_EQ(l1_run(), SVM_EXIT_VMMCALL);
	guest_done();
}

TEST(tables_in_rom)
{
	u64 *rom = host_alloc(0x200000, 0x200000);
	struct kvm_run *run;
	struct vm *vm;

	need_npt();
	STRATA_ONLY("the in-tree module emulates other instructions");
	vm = vm_create(1);
	run = vm->vcpu->run;
	rom[0] = (ROM + 0x1000) | PTE_P | PTE_W;
	rom[512] = PTE_P | PTE_W | PTE_PS;
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, ROM, 0x200000, rom), 0);
	vcpu_set_long(vm->vcpu, guest_rom, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->emulation_failure.suberror, KVM_INTERNAL_ERROR_EMULATION);
	CHECK(run->emulation_failure.insn_size >= 2);
	CHECK(run->flags & 1 << 2);	/* KVM_RUN_X86_GUEST_MODE */
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, ROM, 0, rom), 0);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, ROM, 0x200000, rom), 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* ---- saved and restored ---- */

static void l2_counts(void)
{
	volatile u64 *p = (u64 *)NPT_PLAY;

	for (;;)
		guest_sync(++*p);
}

static void guest_counts(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 1, npt_page() | NPT_RWX);
	svm_guest_restart(l2_counts);
	for (;;)
		GUEST_ASSERT_EQ(l1_run(), 0);
}

/*
 * A 32-bit L2 with PAE: its four pointers are at an address of L2's where L1 has no memory. They
 * are read as the CPU walks, so that a restore must not look for them where they are not.
 */
asm(".pushsection .text\n"
    "l2_pae: .code32\n"
    "	mov l2_pae_count, %eax\n"
    "1:	inc %eax\n"
    "	out %eax, $0x99\n"
    "	jmp 1b\n"
    "	.code64\n"
    "	.data\n"
    "	.balign 4\n"
    "l2_pae_count: .long 0\n"
    ".popsection");
extern const char l2_pae[];

static struct npt l2;

static void guest_pae_l2(void)
{
	npt_init(&l2, NPT_PAE);
	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 1, l2.root | NPT_RWX);
	svm_vmcb.cr3 = NPT_PLAY;
	svm_vmcb.efer &= ~(EFER_LME | EFER_LMA);
	svm_vmcb.cs = (struct svm_seg){ .selector = SEL_CODE32, .attrib = 0xc9b, .limit = ~0u };
	svm_vmcb.rip = (u64)l2_pae;
	for (;;)
		GUEST_ASSERT_EQ(l1_run(), 0);
}

static const struct vm_config config = { .nr_vcpus = 1, .payload = true, .triple_fault = true };

/*
 * Behind the OUT that it stands at, restored in any order into a VM that has the first one's memory
 */
static struct vm *moved(struct vm *vm, u64 *seed, bool sregs2)
{
	static struct vm_state s;
	u8 order[NR_PARTS];
	struct vm *to;

	CHECK_EQ(vcpu_run_nothing(vm->vcpu), -EINTR);
	state_save(vm, &config, NULL, &s);
	state_shuffle(seed, order);
	to = vm_create_with(&config, vm);
	state_restore(to, &config, order, sregs2, &s);
	if (vm->mem_lent)
		vm_destroy(vm);
	return to;
}

static void expect_count(struct vcpu *vcpu, u32 count)
{
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x99);
	CHECK_EQ(*(u32 *)RUN_IO_DATA(vcpu), count);
}

TEST(save_and_restore_pae)
{
	struct vm *first, *vm;
	u64 seed = 9;
	u32 i;

	need_npt();
	STRATA_ONLY("in any order");
	first = vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, guest_pae_l2, 0);
	for (i = 1; i <= 10; i++) {
		expect_count(vm->vcpu, i);
		/* TCG sets A in a pointer, where the bit is reserved. */
		*(u64 *)gpa_to_host(vm, guest_var(vm, &l2)->root) &= ~PTE_A;
		vm = moved(vm, &seed, i & 1);
	}
	vm_destroy(vm);
	vm_destroy(first);
}

TEST(save_and_restore)
{
	struct vm *first, *vm;
	u64 seed = 7, i;

	need_npt();
	first = vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, guest_counts, 0);
	for (i = 1; i <= 20; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, 2 * i - 1);
		vm = moved(vm, &seed, i & 1);
		RUN_UNTIL_SYNC(vm->vcpu, 2 * i);
	}
	vm_destroy(vm);
	vm_destroy(first);
}
