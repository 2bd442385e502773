// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of the torture: system management mode, and two vCPUs that send to each other.
 */
#include <string.h>

#include "programs.h"
#include "smm.h"

#define VECTOR		0x41
#define X2(reg)		(0x800 + (reg) / 16)
#define OPEN		asm volatile("sti; nop; nop; cli" : : : "memory")
#define START_GPA	0x9000ull

#define SMM_STRIDE	(SMRAM_GPA2 - SMRAM_GPA)

enum { EOI = 0xb0, SVR = 0xf0, ICR = 0x300 };
enum {
	ICR_SMI = 2 << 8,
	ICR_NMI = 4 << 8,
	ICR_INIT = 5 << 8 | 1 << 14,
	ICR_SIPI = 6 << 8 | 1 << 14
};

/* ---- system management mode ---- */

/*
 * The handler exits for the CPU, for userspace, and for userspace's answer. Every other time it has
 * the I/O instruction restarted that brought the SMI: so each of these comes twice.
 */
asm(".pushsection .rodata\n"
    "torture_smi: .code16\n"
    "	xor %eax, %eax\n"
    "	cpuid\n"
    "	outb %al, $0x77\n"
    "	inb $0x61, %al\n"
    "	xorb $1, %cs:0x8100\n"
    "	jz 1f\n"
    "	movb $0xff, %cs:0xfec8\n"
    "1:	rsm\n"
    "torture_smi_end: .code64\n"
    ".popsection");
extern const char torture_smi[], torture_smi_end[];

/* SMRAM in the second address space, as smm_prepare() makes it. */
static void prepare_smm(struct vm *vm, unsigned int nr_vcpus)
{
	u8 *smram = smm_prepare(vm, nr_vcpus);
	u32 i;

	smm_set_handler(smram, torture_smi, torture_smi_end);
	/* Each has a save area of its own; the handlers are the same bytes further on. */
	for (i = 1; i < nr_vcpus; i++) {
		smm_set_handler(smram + i * SMM_STRIDE, torture_smi, torture_smi_end);
		REQUIRE_EQ(vcpu_set_msr(&vm->vcpu[i], MSR_SMBASE, SMRAM_GPA + i * SMM_STRIDE), 1);
	}
}

/* The first NMI of four has an SMI come while it is handled. */
static void on_nmi(struct guest_frame *f)
{
	static volatile u64 nmis;

	trace_event(f);
	if (nmis++ % 4 == 0)
		act(ACT_SMI);
	trace_event(f);
}

/* An SMI of its own after each kind of instruction that there is a rule for. */
static void smi_with_company(void)
{
	act(ACT_SMI);
	asm volatile("nop");
	act(ACT_INTERRUPT | VECTOR);
	act(ACT_SMI);
	OPEN;
	act(ACT_NMI | 2);
	act(ACT_SMI);
	asm volatile("nop");
	act(ACT_WAKE | VECTOR);
	asm volatile("sti" : : : "memory");
	act(ACT_SMI);
	asm volatile("hlt; cli" : : : "memory");
	act(ACT_SMI);
	asm volatile("int3; nop; int $0x80; nop");
	act(ACT_SMI);
	GUEST_TRY("ud2");
	/* Asked for in the shadow of a MOV SS */
	asm volatile("mov %%ss, %%r8d; mov $0x900, %%eax; mov $0x710, %%edx; mov %%r8d, %%ss; out %%eax, %%dx; nop"
		     : : : "rax", "rdx", "r8", "memory");
}

static void on_trap(struct guest_frame *f)
{
	trace_event(f);
}

static void guest_smm(void)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		smi_with_company();
	}
	guest_done();
}

void setup_smm(struct vm *vm)
{
	program_long(vm, guest_smm);
	prepare_smm(vm, 1);
	*guest_var(vm, &guest_handlers[NMI_VECTOR]) = on_nmi;
	*guest_var(vm, &guest_handlers[BP_VECTOR]) = on_trap;
}

/* ---- RSM that fails: a triple fault that waits, and can be saved ---- */

/* CR0 of the save area gets PG without PE. */
asm(".pushsection .rodata\n"
    "torture_bad_smi: .code16\n"
    "	outb %al, $0x77\n"
    "	movl $0x80000000, %cs:0xff58\n"
    "	movl $0x80000000, %cs:0xfffc\n"
    "	rsm\n"
    "torture_bad_smi_end: .code64\n"
    ".popsection");
extern const char torture_bad_smi[], torture_bad_smi_end[];

static void guest_bad_rsm(void)
{
	act(ACT_DROP | DROP_ALL);
	act(ACT_SMI);
	guest_done();
}

void setup_bad_rsm(struct vm *vm)
{
	program_long(vm, guest_bad_rsm);
	smm_set_handler(smm_prepare(vm, 1), torture_bad_smi, torture_bad_smi_end);
}

/* ---- two vCPUs; each runs until it hands over, so that what was sent meanwhile waits ---- */

static void on_ipi(struct guest_frame *f)
{
	trace_event(f);
	wrmsr(X2(EOI), 0);
}

static void x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
}

static void send(u64 to, u32 what)
{
	wrmsr(X2(ICR), to << 32 | what);
}

static void guest_second(void)
{
	x2apic_on();
	for (;;) {
		act(ACT_NEXT | 0);
		OPEN;
		send(0, VECTOR + 2);
		send(0, ICR_NMI);
		act(ACT_NEXT | 0);
		asm volatile("sti; hlt; cli" : : : "memory");
		send(0, ICR_SMI);
		send(0, VECTOR + 0x20);
		send(0, VECTOR + 0x12);
	}
}

/* It comes back here after each INIT and SIPI. */
asm(".pushsection .rodata\n"
    "ap_start: .code16\n"
    "	mov $0x2a, %al\n"
    "	out %al, $0x31\n"
    "	mov $0xa00, %eax\n"
    "	mov $0x710, %dx\n"
    "	out %eax, %dx\n"
    "	jmp ap_start\n"
    "ap_start_end: .code64\n"
    ".popsection");
extern const char ap_start[], ap_start_end[];

static void exchange(void)
{
	send(1, VECTOR);
	send(1, VECTOR + 0x11);
	send(1, ICR_NMI);
	act(ACT_NEXT | 1);
	OPEN;
	send(1, VECTOR + 1);
	send(1, ICR_SMI);
	act(ACT_NEXT | 1);
	OPEN;
}

static void restart(void)
{
	send(1, ICR_INIT);
	send(1, ICR_SIPI | START_GPA >> 12);
	act(ACT_NEXT | 1);
	/* Nothing to a vCPU that runs */
	send(1, ICR_SIPI | START_GPA >> 12);
	act(ACT_NEXT | 1);
	/* A second INIT makes no difference. */
	send(1, ICR_INIT);
	send(1, ICR_INIT);
	send(1, ICR_SIPI | START_GPA >> 12);
	act(ACT_NEXT | 1);
}

static void guest_first(void)
{
	u32 i;

	x2apic_on();
	act(ACT_NEXT | 1);
	for (i = 0; i < 8; i++) {
		if (i & 1)
			act(ACT_DROP | DROP_ALL);
		if (i & 2)
			act(ACT_SLOTS);
		if (i < 4)
			exchange();
		else
			restart();
	}
	guest_done();
}

void setup_processors(struct vm *vm)
{
	u32 i;

	program_long(vm, guest_first);
	prepare_smm(vm, 2);
	vcpu_set_long(&vm->vcpu[1], guest_second, 0);
	vcpu_set_mp_state(&vm->vcpu[1], KVM_MP_STATE_RUNNABLE);
	vm_load_payload(vm, START_GPA - GPA_PAYLOAD, ap_start, ap_start_end);
	for (i = 32; i < 256; i++)
		*guest_var(vm, &guest_handlers[i]) = on_ipi;
}
