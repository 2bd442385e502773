// SPDX-License-Identifier: GPL-2.0
/*
 * What: exceptions that a long-mode guest raises reach its own handlers: vector, error code, pushed
 * RIP, CR2; software interrupts push the address behind them; an exception in a nested-paging
 * fault's shadow (the handler's stack or IDT touched for the first time) is delivered once.
 * Conditions: none.
 * Expected: everything as on bare hardware, and no exit to userspace besides the reports.
 */
#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "param.h"
#include "state.h"

#define PAGE (GPA_HEAP + 0x10000)

#define EXPECT(vec, err, insn)							\
	do {									\
		GUEST_ASSERT_FAULTS(vec, "772: " insn);				\
		GUEST_ASSERT_EQ(this_cpu()->error, err);			\
	} while (0)

static void guest_faults(void)
{
	u64 rip;

	asm volatile(TRY_HEAD "lea 1f(%%rip), %0\n1: ud2" TRY_TAIL : "=r"(rip) : : "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, UD_VECTOR);
	GUEST_ASSERT_EQ(this_cpu()->rip, rip);
	EXPECT(DE_VECTOR, 0, "xor %%eax, %%eax; xor %%edx, %%edx; div %%eax");
	EXPECT(GP_VECTOR, 0, "movabs $0x8000000000000000, %%rax; mov (%%rax), %%rax");
	EXPECT(GP_VECTOR, 0x48, "mov $0x48, %%eax; mov %%eax, %%ds");
	EXPECT(NP_VECTOR, SEL_FREE, "mov $0x30, %%eax; mov %%eax, %%es");
	EXPECT(GP_VECTOR, 0, "mov $0x80000000, %%eax; mov %%rax, %%cr0");
	EXPECT(GP_VECTOR, 0, "mov $0x40000000, %%ecx; dec %%ecx; rdmsr");
	EXPECT(SS_VECTOR, SEL_FREE, "mov $0x30, %%eax; mov %%eax, %%ss");
	guest_done();
}

TEST(faults)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 *gdt = gpa_to_host(vm, GPA_GDT);

	vcpu_set_long(vcpu, guest_faults, 0);
	/* A data segment that is not present. */
	gdt[SEL_FREE / 8] = 0x00cf13000000ffffull;
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static volatile u64 soft_vector, soft_rip, soft_count;

static void on_soft(struct guest_frame *frame)
{
	soft_vector = frame->vector;
	soft_rip = frame->rip;
	soft_count++;
}

#define SOFT(vec, insn)								\
	do {									\
		u64 after_;							\
										\
		soft_vector = ~0ull;						\
		asm volatile("lea 1f(%%rip), %0\n" insn "\n1:" : "=&r"(after_) : : "memory"); \
		GUEST_ASSERT_EQ(soft_vector, vec);				\
		GUEST_ASSERT_EQ(soft_rip, after_);				\
		GUEST_ASSERT_EQ(soft_count, ++count);				\
	} while (0)

static void guest_soft(void)
{
	u64 count = 0;

	guest_handlers[BP_VECTOR] = on_soft;
	guest_handlers[0x80] = on_soft;
	guest_handlers[0x20] = on_soft;
	SOFT(BP_VECTOR, "int3");
	SOFT(0x80, "int $0x80");
	SOFT(0x20, "int $0x20");
	SOFT(BP_VECTOR, "int $3");
	guest_done();
}

TEST(software_interrupts)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_soft, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_icebp(void)
{
	u64 count = 0;

	guest_handlers[DB_VECTOR] = on_soft;
	SOFT(DB_VECTOR, ".byte 0xf1");
	guest_done();
}

TEST(icebp)
{
	struct vm *vm;

	need_icebp();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_icebp, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

static void guest_page_faults(void)
{
	volatile u8 *page = (u8 *)PAGE;

	EXPECT(PF_VECTOR, 0, "movabs $0x810000, %%rax; movb (%%rax), %%al");
	GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE);
	EXPECT(PF_VECTOR, PF_WRITE, "movabs $0x810123, %%rax; movb %%al, (%%rax)");
	GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE + 0x123);
	EXPECT(PF_VECTOR, PF_PROT | PF_WRITE, "movabs $0x811008, %%rax; movb %%al, (%%rax)");
	GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE + 0x1008);
	/* QEMU 7.2's TCG leaves out the P bit of a reserved-bit fault. */
	GUEST_ASSERT_FAULTS(PF_VECTOR, "movabs $0x813000, %%rax; movb (%%rax), %%al");
	GUEST_ASSERT_EQ(this_cpu()->error & ~PF_PROT, PF_RSVD);
	/* Crossing: the second page is the absent one. */
	EXPECT(PF_VECTOR, 0, "movabs $0x80fffc, %%rax; movq (%%rax), %%rax");
	GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE);
	GUEST_ASSERT_EQ(page[0x1000], 0x5a);
	EXPECT(PF_VECTOR, PF_PROT | PF_FETCH,
	       "movabs $0x812000, %%rax; jmp *%%rax");
	GUEST_ASSERT_EQ(this_cpu()->rip, PAGE + 0x2000);
	GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE + 0x2000);
	guest_done();
}

TEST(page_faults)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_page_faults, 0);
	*vm_pte(vm, PAGE, 1) = 0;
	vm_map_page(vm, PAGE + 0x1000, PAGE + 0x1000, PTE_P);
	vm_map_page(vm, PAGE + 0x2000, PAGE + 0x2000, PTE_P | PTE_W | PTE_NX);
	vm_map_page(vm, PAGE + 0x3000, PAGE + 0x3000, PTE_P | PTE_W | 1ull << 51);
	*(u8 *)gpa_to_host(vm, PAGE + 0x1000) = 0x5a;
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * Delivery itself faults in the nested tables: the IDT and the handler's stack are pages that the
 * host dropped. The exception must arrive, once, with its first error code.
 */
static void guest_delivery(void)
{
	u64 before = this_cpu()->count;
	u32 i;

	for (i = 0; i < 8; i++) {
		guest_sync(i);
		EXPECT(PF_VECTOR, PF_WRITE, "movabs $0x810010, %%rax; movb %%al, (%%rax)");
		GUEST_ASSERT_EQ(this_cpu()->cr2, PAGE + 0x10);
		GUEST_ASSERT_EQ(this_cpu()->count, before + i + 1);
	}
	guest_done();
}

TEST(delivery_touches_absent_pages)
{
	struct vm *vm = vm_create(1);
	u64 *idt = gpa_to_host(vm, GPA_IDT);
	u32 i;

	vcpu_set_long(vm->vcpu, guest_delivery, 0);
	*vm_pte(vm, PAGE, 1) = 0;
	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 0x24) = FAULT_STACK;
	idt[2 * PF_VECTOR] |= 1ull << 32;
	for (i = 0; i < 8; i++) {
		RUN_UNTIL_SYNC(vm->vcpu, i);
		vm_drop_pages(vm, (i & 1 ? DROP_IDT : 0) | (i & 2 ? DROP_FAULT_STACK : 0) | (i & 4 ? DROP_GDT : 0));
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/* A fault while delivering #GP: contributory exceptions make a double fault with error code 0. */
static void guest_double(void)
{
	EXPECT(DF_VECTOR, 0, "mov $0x48, %%eax; mov %%eax, %%ds");
	guest_done();
}

TEST(double_fault)
{
	struct vm *vm = vm_create(1);
	u64 *idt = gpa_to_host(vm, GPA_IDT);

	vcpu_set_long(vm->vcpu, guest_double, 0);
	idt[2 * GP_VECTOR] &= ~(1ull << 47);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

/*
 * #UD, #GP, #DF, shutdown: with all of them intercepted it is strata that merges each with the one
 * whose delivery it interrupts.
 */
TEST(shutdown_by_merging)
{
	const struct vm_config config = { .nr_vcpus = 1, .each = true };
	unsigned int exits = 0;
	struct vm *vm;
	u64 before;

	STRATA_ONLY("its own parameter");
	if (host_is_amd())
		tap_skip("emulated SVM forgets or mistakes an injected exception that another interrupts");
	before = param_read(FORCE_PARAM);
	param_write(FORCE_PARAM, ~0u);
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, guest_shut_down, 0);
	while (vcpu_run_raw(vm->vcpu) == 0 && vm->vcpu->run->exit_reason == STRATA_EXIT_EACH)
		exits += vm->vcpu->run->hw.hardware_exit_reason == 0;	/* exception or NMI */
	param_write(FORCE_PARAM, before);
	CHECK_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_SHUTDOWN);
	/* The last one is reported as the shutdown alone. */
	CHECK(exits >= 3);
	tap_note("%u exits for exceptions", exits);
	vm_destroy(vm);
}

/* INTO and BOUND exist in 32-bit code only; the IVT of real mode sees them too. */
asm(".pushsection .rodata\n"
    "into_start: .code16\n"
    "	mov $0x7f, %al\n"
    "	add $1, %al\n"
    "	into\n"
    "	hlt\n"
    "	.org into_start + 0x10\n"
    "	mov %sp, %bp\n"		/* handler of vector 4 */
    "	mov (%bp), %cx\n"
    "	out %al, $0x30\n"
    "	iret\n"
    "into_end: .code64\n"
    ".popsection");
extern const char into_start[], into_end[];

TEST(into_in_real_mode)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	vm_load_payload(vm, 0, into_start, into_end);
	*(u32 *)gpa_to_host(vm, 4 * OF_VECTOR) = (GPA_PAYLOAD >> 4) << 16 | 0x10;
	vcpu_set_real(vcpu, GPA_PAYLOAD >> 4, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.port, 0x30);
	RUN_UNTIL(vcpu, KVM_EXIT_HLT);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rcx & 0xffff, 5);
	CHECK_EQ(regs.rip, 6);
	CHECK_EQ(regs.rsp, 0x7000);
	vm_destroy(vm);
}
