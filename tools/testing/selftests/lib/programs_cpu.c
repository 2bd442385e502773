// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: traps and breakpoints, user mode, task switches, real mode, shutdown.
 */
#include <string.h>

#include "programs.h"

/* ---- debug traps ---- */

static volatile u64 watched, steps;

static void on_db(struct guest_frame *f)
{
	u64 dr6;

	trace_event(f);
	asm volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(dr6) : "r"(0xffff0ff0ul));
	steps++;
	/* Or it would hit again. */
	if (dr6 & 1)
		f->rflags |= RFLAGS_RF;
}

/* Steps over what the CPU does, and over what is done for it. */
static void single_steps(void)
{
	asm volatile("pushfq; orl $0x100, (%%rsp); popfq\n\t"
		     "nop\n\t"
		     "xor %%eax, %%eax\n\t"
		     "cpuid\n\t"
		     "mov $0x60, %%edx\n\t"
		     "mov $1, %%eax\n\t"
		     "outb %%al, %%dx\n\t"
		     "inb %%dx, %%al\n\t"
		     "movl %%eax, 0x20000010\n\t"
		     "movl 0x20000020, %%eax\n\t"
		     "mov %%ss, %%eax\n\t"
		     "mov %%eax, %%ss\n\t"
		     "nop\n\t"
		     "pushfq; andl $~0x100, (%%rsp); popfq\n\t"
		     "nop" : : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}

static void guest_debug(void)
{
	u32 i;

	asm volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr7" : : "r"(guest_breakpoint()), "r"(&watched), "r"(0x401ul));
	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		guest_breakpoint()();
		watched = i;
		single_steps();
		guest_breakpoint()();
	}
	guest_done();
}

void setup_debug(struct vm *vm)
{
	program_long(vm, guest_debug);
	*guest_var(vm, &guest_handlers[DB_VECTOR]) = on_db;
}

/* ---- user mode ---- */

#define USER_CODE	(GPA_HEAP + 0x2000)
#define USER_STACK	(GPA_HEAP + 0x4000)

/*
 * R15 says where to go on after a fault. INT 0x80 is a call to act(EDI), INT 0x22 the end; INT 0x21
 * and at first INT3 are not allowed.
 */
asm(".pushsection .rodata\n"
    "user_start:\n"
    "	mov $3, %ebx\n"
    "1:	mov $0x107, %edi\n"
    "	int $0x80\n"
    "	lea 2f(%rip), %r15\n"
    "	int3\n"
    "2:	mov $0x107, %edi\n"
    "	int $0x80\n"
    "	lea 3f(%rip), %r15\n"
    "	int $0x21\n"
    "3:	mov $0x200, %edi\n"
    "	int $0x80\n"
    "	lea 4f(%rip), %r15\n"
    "	ud2\n"
    "4:	lea 5f(%rip), %r15\n"
    "	hlt\n"
    "5:	mov $0x107, %edi\n"
    "	int $0x80\n"
    "	lea 6f(%rip), %r15\n"
    "	mov 0x1000, %eax\n"
    "6:	mov $0x107, %edi\n"
    "	int $0x80\n"
    "	lea 7f(%rip), %r15\n"
    "	pushfq\n"
    "	orl $0x40000, (%rsp)\n"
    "	popfq\n"
    "	mov 1(%rsp), %eax\n"
    "7:	pushfq\n"
    "	andl $~0x40000, (%rsp)\n"
    "	popfq\n"
    "	dec %ebx\n"
    "	jnz 1b\n"
    "	int $0x22\n"
    "user_end:\n"
    ".popsection");
extern const char user_start[], user_end[];

static volatile u64 rounds;

static void to_user(void)
{
	asm volatile("pushq $0x63; pushq %0; pushq $0x2; pushq $0x5b; pushq %1; iretq"
		     : : "r"(USER_STACK), "r"(USER_CODE) : "memory");
}

static void on_user_fault(struct guest_frame *f)
{
	trace_event(f);
	if (f->vector != BP_VECTOR)
		f->rip = f->r15;
}

static void on_call(struct guest_frame *f)
{
	act((u32)f->rdi);
}

static void on_end(struct guest_frame *f)
{
	volatile u64 *bp = (u64 *)GPA_IDT + 2 * BP_VECTOR;

	trace_event(f);
	if (rounds++ == 1)
		guest_done();
	/* Once more, with INT3 allowed. */
	*bp |= 3ull << 45;
	f->rip = USER_CODE;
}

static void guest_user(void)
{
	write_cr0(read_cr0() | CR0_AM);
	to_user();
}

void setup_user(struct vm *vm)
{
	u64 *idt = gpa_to_host(vm, GPA_IDT);
	u32 i;

	program_long(vm, guest_user);
	for (i = 0; i < 32; i++)
		*guest_var(vm, &guest_handlers[i]) = on_user_fault;
	*guest_var(vm, &guest_handlers[0x80]) = on_call;
	*guest_var(vm, &guest_handlers[0x22]) = on_end;
	memcpy(gpa_to_host(vm, USER_CODE), user_start, user_end - user_start);
	vm_user_page(vm, USER_CODE, 0);
	vm_user_page(vm, USER_STACK - 4096, PTE_W);
	vm_user_segments(vm);
	idt[2 * 0x80] |= 3ull << 45;
	idt[2 * 0x22] |= 3ull << 45;
	*(u64 *)((u8 *)gpa_to_host(vm, GPA_TSS) + 4) = FAULT_STACK;
}

/* ---- task switches ---- */

struct tss32 {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
};

#define SEL_TSS_A	0x40
#define SEL_TSS_B	0x48
#define SEL_GATE	0x50
#define SEL_TSS_C	0x58
#define TSS_A		0x5000ull
#define TSS_B		0x5100ull
#define TSS_C		0x5200ull
#define BUSY		(1ull << 41)

/*
 * C takes the #GP of a MOV to a segment register, two bytes long, of the task that it returns to.
 */
asm(".pushsection .rodata\n"
    "tasks_start: .code32\n"
    "	mov $4, %ebx\n"
    "1:	ljmp $0x48, $0\n"
    "	lcall $0x48, $0\n"
    "	lcall $0x50, $0\n"
    "	mov $0x200, %eax\n"
    "	mov $0x710, %edx\n"
    "	out %eax, (%dx)\n"
    "	int $0x20\n"
    "	mov $0x78, %eax\n"
    "	mov %eax, %es\n"
    "	mov $0x200, %eax\n"
    "	mov $0x710, %edx\n"
    "	out %eax, (%dx)\n"
    "	mov $0x78, %eax\n"
    "	mov %eax, %es\n"
    "	dec %ebx\n"
    "	jnz 1b\n"
    "	mov $0x5a1, %edx\n"
    "	out %eax, (%dx)\n"
    "tasks_b:\n"
    "	mov $0x2b, %al\n"
    "	out %al, $0x31\n"
    "	ljmp $0x40, $0\n"
    "2:	mov $0x2c, %al\n"
    "	out %al, $0x31\n"
    "	iret\n"
    "	mov $0x2d, %al\n"
    "	out %al, $0x31\n"
    "	iret\n"
    "	mov $0x2e, %al\n"
    "	out %al, $0x31\n"
    "	iret\n"
    "	jmp tasks_b\n"
    "tasks_c:\n"
    "	pop %eax\n"
    "	out %al, $0x32\n"
    "	addl $2, 0x5020\n"
    "	iret\n"
    "	jmp tasks_c\n"
    "tasks_end: .code64\n"
    ".popsection");
extern const char tasks_start[], tasks_b[], tasks_c[], tasks_end[];

static void make_task(struct vm *vm, u64 tss, u16 selector, u32 eip, u32 esp)
{
	struct tss32 *t = gpa_to_host(vm, tss);

	*t = (struct tss32){
		.eip = eip, .eflags = RFLAGS_FIXED, .esp = esp, .es = SEL_DATA, .cs = SEL_CODE32, .ss = SEL_DATA, .ds = SEL_DATA,
		.fs = SEL_DATA, .gs = SEL_DATA,
	};
	((u64 *)gpa_to_host(vm, GPA_GDT))[selector / 8] = 0x0000890000000067ull | tss << 16;
}

void setup_tasks(struct vm *vm)
{
	u64 *gdt = gpa_to_host(vm, GPA_GDT), *idt = gpa_to_host(vm, GPA_IDT);
	u64 gpa = vm_load_payload(vm, 0, tasks_start, tasks_end);
	struct kvm_sregs sregs;

	vcpu_set_prot(vm->vcpu, gpa);
	make_task(vm, TSS_A, SEL_TSS_A, 0, 0);
	gdt[SEL_TSS_A / 8] |= BUSY;
	make_task(vm, TSS_B, SEL_TSS_B, gpa + (tasks_b - tasks_start), 0x6000);
	make_task(vm, TSS_C, SEL_TSS_C, gpa + (tasks_c - tasks_start), 0x6800);
	gdt[SEL_GATE / 8] = 0x0000850000000000ull | SEL_TSS_B << 16;
	idt[0x20] = 0x0000850000000000ull | SEL_TSS_B << 16;
	idt[GP_VECTOR] = 0x0000850000000000ull | SEL_TSS_C << 16;
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.idt.limit = 0x7ff;
	sregs.tr = (struct kvm_segment){
		.base = TSS_A, .limit = 0x67, .selector = SEL_TSS_A, .type = 11, .present = 1,
	};
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
}

/* ---- real mode ---- */

asm(".pushsection .rodata\n"
    "real_start: .code16\n"
    "	mov $5, %bx\n"
    "1:	call 9f\n"
    "	int $0x20\n"
    "	call 9f\n"
    "	int3\n"
    "	call 9f\n"
    "	mov $0x7f, %al\n"
    "	add $1, %al\n"
    "	into\n"
    "	call 9f\n"
    "	xor %dx, %dx\n"
    "	xor %cx, %cx\n"
    "	div %cx\n"
    "	dec %bx\n"
    "	jnz 1b\n"
    "	mov $0x5a1, %dx\n"
    "	out %eax, (%dx)\n"
    "9:	mov $0x200, %eax\n"
    "	mov $0x710, %dx\n"
    "	out %eax, (%dx)\n"
    "	ret\n"
    "	.org real_start + 0x80\n"
    "	out %al, $0x31\n"
    "	iret\n"
    "	.org real_start + 0x90\n"	/* handler of faults: over the two bytes of DIV */
    "	push %bp\n"
    "	mov %sp, %bp\n"
    "	addw $2, 2(%bp)\n"
    "	pop %bp\n"
    "	out %al, $0x32\n"
    "	iret\n"
    "real_end: .code64\n"
    ".popsection");
extern const char real_start[], real_end[];

void setup_real(struct vm *vm)
{
	u32 *ivt = gpa_to_host(vm, 0), base = (GPA_PAYLOAD >> 4) << 16;

	vm_load_payload(vm, 0, real_start, real_end);
	ivt[DE_VECTOR] = base | 0x90;
	ivt[BP_VECTOR] = base | 0x80;
	ivt[OF_VECTOR] = base | 0x80;
	ivt[0x20] = base | 0x80;
	vcpu_set_real(vm->vcpu, GPA_PAYLOAD >> 4, 0);
}

/* ---- shutdown ---- */

static void guest_triple(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) idt = { 0, GPA_IDT };

	act(ACT_DROP | DROP_ALL);
	out32(0x60, 1);
	asm volatile("lidt %0; ud2" : : "m"(idt));
}

void setup_triple(struct vm *vm)
{
	program_long(vm, guest_triple);
}
