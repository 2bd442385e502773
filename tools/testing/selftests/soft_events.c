// SPDX-License-Identifier: GPL-2.0
/*
 * What: INT3, INTO, INT n and ICEBP whose delivery is interrupted: by nested page faults on the
 * IDT, the GDT, the TSS and the stack, and by faults of the guest's (a page fault on the stack, a
 * gate that is not present or that user mode may not use).
 * Conditions: with and without next-RIP save (module parameter nrips).
 * Expected: each is delivered once and pushes the address behind it; a fault on the way pushes the
 * address of the instruction, and its error code is that of a software event.
 */
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define PORT_DROP	0x30
#define LATE_STACK	(GPA_HEAP + 0xb000)
#define USER_CODE	(GPA_HEAP + 0x2000)
#define USER_STACK	(GPA_HEAP + 0x4000)
#define NO_GATE		0x90
#define SHORT_TSS	0x40	/* IST7 is behind it */

static volatile u64 events, event_rip, faults, fault_rip, fault_error, fault_vector, late_pte;
/* 8 bytes each, as far as error codes go; TCG says 16. */
static volatile u64 gate_size;
/* Bochs' VMRUN does not load it. */
static volatile bool no_cr2;

static void on_soft(struct guest_frame *f)
{
	events++;
	event_rip = f->rip;
}

/* Goes on behind the instruction, or again with it. */
static void on_fault(struct guest_frame *f)
{
	faults++;
	fault_vector = f->vector;
	fault_rip = f->rip;
	fault_error = f->error;
	if (f->vector == PF_VECTOR)
		*(volatile u64 *)late_pte |= PTE_P;
	else
		f->rip = this_cpu()->fixup;
}

static void late_again(void)
{
	*(volatile u64 *)late_pte &= ~PTE_P;
	asm volatile("invlpg (%0)" : : "r"(LATE_STACK - 4096) : "memory");
}

#define SOFT(insn, at, next)							\
	asm volatile("lea 1f(%%rip), %0; lea 2f(%%rip), %1\n1:\t" insn "\n2:" : "=&r"(at), "=&r"(next) : : "memory")

#define INTERRUPTED_BY_HOST(insn)						\
	do {									\
		u64 at_, next_, before_ = events;				\
										\
		for (mask = 0; mask <= DROP_ALL; mask++) {			\
			out8(PORT_DROP, mask);					\
			SOFT(insn, at_, next_);					\
			GUEST_ASSERT_EQ(events, ++before_);			\
			GUEST_ASSERT_EQ(event_rip, next_);			\
		}								\
	} while (0)

static void guest_host_faults(void)
{
	u32 mask;

	INTERRUPTED_BY_HOST("int3");
	INTERRUPTED_BY_HOST("int $3");
	INTERRUPTED_BY_HOST("int $0x80");
	INTERRUPTED_BY_HOST("int $0x81");
	GUEST_ASSERT_EQ(faults, 0);
	guest_done();
}

/* INTO is there outside of 64-bit code only. */
asm(".pushsection .text\n"
    ".code32\n"
    "into32:\n"
    "	mov $0x7f, %al\n"
    "	add $1, %al\n"
    "	into\n"
    "into32_next:\n"
    "	lret\n"
    ".code64\n"
    ".popsection");
extern const char into32[], into32_next[];

static void guest_into(void)
{
	static struct { u32 eip; u16 cs; } __attribute__((packed)) far32;
	u64 before = events;
	u32 mask;

	far32.eip = (u64)into32;
	far32.cs = SEL_CODE32;
	for (mask = 0; mask <= DROP_ALL; mask++) {
		out8(PORT_DROP, mask);
		asm volatile("lcall *%0" : : "m"(far32) : "rax", "memory", "cc");
		GUEST_ASSERT_EQ(events, ++before);
		GUEST_ASSERT_EQ(event_rip, (u64)into32_next);
	}
	GUEST_ASSERT_EQ(faults, 0);
	guest_done();
}

static void guest_icebp(void)
{
	u32 mask;

	INTERRUPTED_BY_HOST(".byte 0xf1");
	guest_done();
}

/* The stack of the handler is absent: #PF at the instruction, then the event itself. */
#define LATE(insn)								\
	do {									\
		u64 at_, next_, before_ = events, faults_ = faults;		\
										\
		for (mask = 0; mask < 8; mask++) {				\
			late_again();						\
			out8(PORT_DROP, mask);					\
			SOFT(insn, at_, next_);					\
			GUEST_ASSERT_EQ(faults, ++faults_);			\
			GUEST_ASSERT_EQ(fault_rip, at_);			\
			GUEST_ASSERT_EQ(fault_error, PF_WRITE);			\
			GUEST_ASSERT(no_cr2 || (read_cr2() & ~0xfffull) == LATE_STACK - 4096); \
			GUEST_ASSERT_EQ(events, ++before_);			\
			GUEST_ASSERT_EQ(event_rip, next_);			\
		}								\
	} while (0)

static void guest_late_stack(void)
{
	u32 mask;

	LATE("int3");
	LATE("int $0x81");
	guest_done();
}

#define ABSENT_GATE(insn, vector)						\
	do {									\
		u64 at_, faults_ = faults;					\
										\
		for (mask = 0; mask < 8; mask++) {				\
			out8(PORT_DROP, mask);					\
			asm volatile(TRY_HEAD "lea 1f(%%rip), %0\n1:\t" insn TRY_TAIL : "=&r"(at_) : : "memory"); \
			GUEST_ASSERT_EQ(faults, ++faults_);			\
			GUEST_ASSERT_EQ(fault_vector, NP_VECTOR);		\
			GUEST_ASSERT_EQ(fault_rip, at_);			\
			/* Of the IDT, and not external */			\
			GUEST_ASSERT_EQ(fault_error, (vector) * gate_size + 2);		\
		}								\
	} while (0)

static void guest_absent_gate(void)
{
	volatile u64 *bp = (u64 *)GPA_IDT + 2 * BP_VECTOR;
	u32 mask;

	*bp &= ~(1ull << 47);
	ABSENT_GATE("int $0x90", NO_GATE);
	ABSENT_GATE("int3", BP_VECTOR);
	GUEST_ASSERT_EQ(events, 0);
	guest_done();
}

/* The TSS ends before the stack of the gate: #TS with the TSS's selector, at the instruction. */
#define NO_STACK(insn)								\
	do {									\
		u64 at_, faults_ = faults;					\
										\
		for (mask = 0; mask < 8; mask++) {				\
			out8(PORT_DROP, mask);					\
			asm volatile(TRY_HEAD "lea 1f(%%rip), %0\n1:\t" insn TRY_TAIL : "=&r"(at_) : : "memory"); \
			GUEST_ASSERT_EQ(faults, ++faults_);			\
			GUEST_ASSERT_EQ(fault_vector, TS_VECTOR);		\
			GUEST_ASSERT_EQ(fault_rip, at_);			\
			GUEST_ASSERT_EQ(fault_error, SEL_TSS);			\
		}								\
	} while (0)

static void guest_no_stack(void)
{
	u32 mask;

	NO_STACK("int3");
	NO_STACK("int $0x81");
	GUEST_ASSERT_EQ(events, 0);
	guest_done();
}

/* ---- user mode ---- */

/* INT 0x82 with a mask in EDI drops pages; R14 is at the instruction, R15 behind it. */
asm(".pushsection .rodata\n"
    "soft_user:\n"
    "	mov $8, %ebx\n"
    "1:	mov $7, %edi\n"
    "	int $0x82\n"
    "	lea 2f(%rip), %r14\n"
    "	lea 3f(%rip), %r15\n"
    "2:	int3\n"
    "3:	mov %ebx, %edi\n"
    "	int $0x82\n"
    "	lea 4f(%rip), %r14\n"
    "	lea 5f(%rip), %r15\n"
    "4:	int $0x80\n"
    "5:	dec %ebx\n"
    "	jnz 1b\n"
    "	int $0x83\n"
    "soft_user_end:\n"
    ".popsection");
extern const char soft_user[], soft_user_end[];

static void on_refused(struct guest_frame *f)
{
	faults++;
	GUEST_ASSERT_EQ(f->vector, GP_VECTOR);
	GUEST_ASSERT_EQ(f->rip, f->r14);
	GUEST_ASSERT_EQ(f->error, (*(u8 *)f->rip == 0xcc ? BP_VECTOR : 0x80) * gate_size + 2);
	f->rip = f->r15;
}

static void on_drop(struct guest_frame *f)
{
	out8(PORT_DROP, (u8)f->rdi);
}

/* First nothing is allowed, then both. */
static void on_end(struct guest_frame *f)
{
	volatile u64 *idt = (u64 *)GPA_IDT;

	if (idt[2 * BP_VECTOR] >> 45 & 3) {
		GUEST_ASSERT_EQ(events, 16);
		GUEST_ASSERT_EQ(faults, 16);
		guest_done();
	}
	GUEST_ASSERT_EQ(events, 0);
	GUEST_ASSERT_EQ(faults, 16);
	idt[2 * BP_VECTOR] |= 3ull << 45;
	idt[2 * 0x80] |= 3ull << 45;
	f->rip = USER_CODE;
}

static void guest_user(void)
{
	asm volatile("pushq $0x63; pushq %0; pushq $0x2; pushq $0x5b; pushq %1; iretq"
		     : : "r"(USER_STACK), "r"(USER_CODE) : "memory");
}

/* ---- the host's side ---- */

static struct vm *soft_vm(void *fn)
{
	struct vm *vm;
	u32 i;

	for (i = 0; i < 32; i++)
		guest_handlers[i] = on_fault;
	guest_handlers[DB_VECTOR] = guest_handlers[BP_VECTOR] = guest_handlers[OF_VECTOR] = on_soft;
	guest_handlers[0x80] = guest_handlers[0x81] = on_soft;
	tap_may_lose("the address of a soft event's instruction when its delivery faults");
	gate_size = host_is_tcg() ? 16 : 8;
	no_cr2 = host_is_bochs_svm();
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	return vm;
}

static void use_ist(struct vm *vm, u8 vector, u64 stack)
{
	u64 *idt = gpa_to_host(vm, GPA_IDT);

	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 0x24) = stack;
	idt[2 * vector] |= 1ull << 32;
}

static void skip_on_bochs_svm(void)
{
	if (host_is_bochs_svm())
		tap_skip("Bochs says wrong things about deliveries that nested paging interrupts");
}

static void run_dropping(struct vm *vm)
{
	enum run_end end;

	while ((end = vcpu_run(vm->vcpu)) == RUN_OTHER) {
		REQUIRE_EQ(vm->vcpu->run->exit_reason, KVM_EXIT_IO);
		REQUIRE_EQ(vm->vcpu->run->io.port, PORT_DROP);
		vm_drop_pages(vm, *(u8 *)RUN_IO_DATA(vm->vcpu));
	}
	CHECK_EQ(end, RUN_DONE);
	vm_destroy(vm);
}

TEST(nested_page_faults)
{
	struct vm *vm = soft_vm(guest_host_faults);

	skip_on_bochs_svm();
	use_ist(vm, 0x81, FAULT_STACK);
	run_dropping(vm);
}

TEST(nested_page_faults_of_into)
{
	struct vm *vm = soft_vm(guest_into);

	skip_on_bochs_svm();
	run_dropping(vm);
}

TEST(nested_page_faults_of_icebp)
{
	skip_on_bochs_svm();
	need_icebp();
	run_dropping(soft_vm(guest_icebp));
}

TEST(page_fault_on_the_stack)
{
	struct vm *vm = soft_vm(guest_late_stack);

	vm_map_page(vm, LATE_STACK - 4096, LATE_STACK - 4096, PTE_W);
	*guest_var(vm, &late_pte) = (u64)((u8 *)vm_pte(vm, LATE_STACK - 4096, 1) - vm->mem);
	use_ist(vm, BP_VECTOR, LATE_STACK);
	use_ist(vm, 0x81, LATE_STACK);
	run_dropping(vm);
}

TEST(gate_that_is_not_present)
{
	struct vm *vm = soft_vm(guest_absent_gate);

	((u64 *)gpa_to_host(vm, GPA_IDT))[2 * NO_GATE] &= ~(1ull << 47);
	run_dropping(vm);
}

TEST(stack_beyond_the_tss)
{
	struct vm *vm = soft_vm(guest_no_stack);
	u64 *idt = gpa_to_host(vm, GPA_IDT);
	struct kvm_sregs sregs;

	idt[2 * BP_VECTOR] |= 7ull << 32;
	idt[2 * 0x81] |= 7ull << 32;
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.tr.limit = SHORT_TSS;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	run_dropping(vm);
}

TEST(gate_of_the_kernel)
{
	struct vm *vm = soft_vm(guest_user);
	u64 *idt = gpa_to_host(vm, GPA_IDT);

	skip_on_bochs_svm();
	*guest_var(vm, &guest_handlers[GP_VECTOR]) = on_refused;
	*guest_var(vm, &guest_handlers[0x82]) = on_drop;
	*guest_var(vm, &guest_handlers[0x83]) = on_end;
	memcpy(gpa_to_host(vm, USER_CODE), soft_user, soft_user_end - soft_user);
	vm_user_page(vm, USER_CODE, 0);
	vm_user_page(vm, USER_STACK - 4096, PTE_W);
	vm_user_segments(vm);
	idt[2 * 0x82] |= 3ull << 45;
	idt[2 * 0x83] |= 3ull << 45;
	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 4) = FAULT_STACK;
	run_dropping(vm);
}
