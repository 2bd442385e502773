// SPDX-License-Identifier: GPL-2.0
/*
 * VMs stopped in states worth saving; see state_scenes.h.
 */
#include <string.h>

#include "../../../../include/uapi/linux/strata.h"
#include "state_scenes.h"

#define PORT_STOP	0x700
#define VECTOR		0x41
#define TIMER		0x61
#define X2(reg)		(0x800 + (reg) / 16)
#define FAR		0x40000000u	/* two minutes */

enum {
	TPR = 0x80,
	EOI = 0xb0,
	SVR = 0xf0,
	ICR = 0x300,
	LVTT = 0x320,
	TMICT = 0x380,
	TDCR = 0x3e0,
	SELF = 0x3f0
};

/* What the guest sees after the stop: events as they come, registers, vector registers. */
static volatile struct {
	u64 n;
	struct {
		u64 vector, error, rip, rflags, cr2, dr6, cr8;
	} event[16];
	u64 reg[32];
	u8 vec[16][32];
} seen;

static void on_event(struct guest_frame *f)
{
	u64 n = seen.n++, dr6;

	if (n > 15) {
		out32(PORT_EXCEPTION, (u32)f->vector);
		return;
	}
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	seen.event[n].vector = f->vector;
	seen.event[n].error = f->error;
	/* Behind the NOP that follows STI */
	seen.event[n].rip = f->rip + guest_shadow_lost(f);
	seen.event[n].rflags = f->rflags;
	seen.event[n].cr2 = f->vector == PF_VECTOR ? read_cr2() : 0;	/* Bochs's SVM keeps it no longer */
	seen.event[n].dr6 = dr6;
	seen.event[n].cr8 = read_cr8();
	if (f->vector == DB_VECTOR)
		f->rflags |= RFLAGS_RF;
}

static void on_apic_event(struct guest_frame *f)
{
	on_event(f);
	wrmsr(X2(EOI), 0);
}

static bool has_avx(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] >> 26 & r[2] >> 28 & 1;
}

static void load_vectors(void)
{
	if (has_avx()) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
		asm volatile("vpcmpeqd %xmm1, %xmm1, %xmm1; vinsertf128 $1, %xmm1, %ymm1, %ymm9; vmovaps %ymm9, %ymm14");
	}
	asm volatile("fninit; fldpi; movq %0, %%xmm3; movq %0, %%xmm15" : : "r"(0x1122334455667788ull));
}

static void store_vectors(void)
{
	u16 status;

	asm volatile("fnstsw %0" : "=a"(status));
	seen.reg[20] = status;
	asm volatile("movdqu %%xmm3, %0; movdqu %%xmm15, %1" : "=m"(seen.vec[3]), "=m"(seen.vec[15]));
	if (!has_avx())
		return;
	asm volatile("vmovdqu %%ymm9, %0; vmovdqu %%ymm14, %1" : "=m"(seen.vec[9]), "=m"(seen.vec[14]));
	asm volatile("xgetbv" : "=a"(seen.reg[21]) : "c"(0) : "rdx");
}

static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_FS_BASE, MSR_SYSENTER_ESP,
			    MSR_SYSENTER_EIP, MSR_PAT, MSR_EFER, MSR_GS_BASE };

static void load_registers(void)
{
	wrmsr(MSR_STAR, 0x0023001000000000ull);
	wrmsr(MSR_LSTAR, 0xffff800000001000ull);
	wrmsr(MSR_SFMASK, 0x700);
	wrmsr(MSR_KERNEL_GS_BASE, 0x12345000);
	wrmsr(MSR_FS_BASE, 0x7654000);
	wrmsr(MSR_SYSENTER_ESP, 0x7654);
	wrmsr(MSR_PAT, 0x0007040600070401ull);
	asm volatile("mov %0, %%dr0; mov %1, %%dr3; mov %2, %%dr7" : : "r"(guest_breakpoint()), "r"(0x5678ul), "r"(0x401ul));
	load_vectors();
}

static void show_registers(void)
{
	u64 dr0, dr3, dr7;
	u32 i;

	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		seen.reg[i] = rdmsr(msrs[i]);
	asm volatile("mov %%dr0, %0; mov %%dr3, %1; mov %%dr7, %2" : "=r"(dr0), "=r"(dr3), "=r"(dr7));
	seen.reg[12] = dr0;
	seen.reg[13] = dr3;
	seen.reg[14] = dr7;
	seen.reg[15] = read_cr0();
	seen.reg[16] = read_cr4();
	seen.reg[17] = read_cr8();
	store_vectors();
}

static void guest_plain(void)
{
	load_registers();
	write_cr8(3);
	/* What is injected with a length lands on the next NOP but one. */
	asm volatile("outl %0, %1; nop; nop; nop" : : "a"(1), "Nd"((u16)PORT_STOP));
	show_registers();
	guest_breakpoint()();
	asm volatile("sti; nop; nop; cli");
	guest_done();
}

static void start_plain(struct vm *vm)
{
	u32 i;

	for (i = 0; i < 32; i++)
		*guest_var(vm, &guest_handlers[i]) = on_event;
	*guest_var(vm, &guest_handlers[VECTOR]) = on_event;
	vcpu_set_long(vm->vcpu, guest_plain, 0);
}

static u64 hash_seen(struct vm *vm)
{
	const u64 *p = (const u64 *)guest_var(vm, &seen);
	u64 h = 0, i;

	for (i = 0; i < sizeof(seen) / 8; i++)
		h = (h ^ p[i]) * 0x100000001b3ull + (h >> 29);
	return h;
}

static u64 finish_plain(struct vm *vm)
{
	RUN_UNTIL_DONE(vm->vcpu);
	return hash_seen(vm);
}

static void stop_nothing(struct vm *vm __attribute__((unused)))
{
}

/* A page fault that is recognised, and two NMIs behind it. */
static void stop_pending(struct vm *vm)
{
	struct kvm_vcpu_events e;

	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_NMI_PENDING;
	e.exception.pending = 1;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = PF_WRITE;
	e.exception_has_payload = 1;
	e.exception_payload = 0x1234567000ull;
	e.nmi.pending = 2;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
}

/*
 * An exception whose delivery has begun, an interrupt that waits, an interrupt shadow, NMIs masked
 * with one pending.
 */
static void stop_delivering(struct vm *vm)
{
	struct kvm_vcpu_events e;

	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.exception.injected = 1;
	e.exception.nr = GP_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = 0x48;
	e.interrupt.injected = 1;
	e.interrupt.nr = VECTOR;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS;
	e.nmi.masked = 1;
	e.nmi.pending = 1;
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
}

/*
 * INT3 in delivery as strata's capability shows it, and debug causes that a MOV SS shadow holds
 * back.
 */
static void stop_soft(struct vm *vm)
{
	struct strata_events s = {
		.flags = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH,
		.delivering_kind = STRATA_EVENT_SOFT_EXCEPTION,
		.delivering_len = 2,
		.stash_nr = VECTOR,
		.pending_dbg = 2,
	};
	struct kvm_vcpu_events e;

	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.exception.injected = 1;
	e.exception.nr = BP_VECTOR;
	memcpy(e.reserved, &s, sizeof(s));
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
}

/* x2APIC with an interrupt held back by TPR and a timer that counts. */
static void guest_apic(void)
{
	load_registers();
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(X2(SVR), 0x1ff);
	wrmsr(X2(TDCR), 0xa);
	wrmsr(X2(LVTT), TIMER | 1 << 17);
	wrmsr(X2(TMICT), FAR);
	wrmsr(X2(TPR), 0x50);
	wrmsr(X2(SELF), VECTOR);
	/* Processor 1 is woken, which nobody runs yet. */
	wrmsr(X2(ICR), 1ull << 32 | 0x4500);
	wrmsr(X2(ICR), 1ull << 32 | 0x4609);
	out32(PORT_STOP, 1);
	show_registers();
	seen.reg[22] = rdmsr(X2(TPR));
	seen.reg[23] = rdmsr(X2(LVTT));
	wrmsr(X2(TPR), 0);
	asm volatile("sti; nop; nop; cli");
	guest_breakpoint()();
	guest_done();
}

static void start_apic(struct vm *vm)
{
	start_plain(vm);
	*guest_var(vm, &guest_handlers[VECTOR]) = on_apic_event;
	/* Real-mode code at the SIPI's vector: out %al, $0x30; hlt */
	memcpy(gpa_to_host(vm, 0x9000), "\xe6\x30\xf4", 3);
	vcpu_set_long(vm->vcpu, guest_apic, 0);
}

/* Halted, and the NMI that ends it has come. */
static void stop_apic(struct vm *vm)
{
	vcpu_set_mp_state(vm->vcpu, KVM_MP_STATE_HALTED);
	xioctl(vm->vcpu->fd, KVM_NMI, NULL);
}

/* The interrupt comes when TPR lets it. Then processor 1 starts. */
static u64 finish_apic(struct vm *vm)
{
	struct kvm_regs regs;

	RUN_UNTIL_DONE(vm->vcpu);
	RUN_UNTIL(&vm->vcpu[1], KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu[1].run->io.port, 0x30);
	xioctl(vm->vcpu[1].fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rip, 2);
	return hash_seen(vm);
}

/* ---- PAE paging: page-directory pointers that are registers ---- */

asm(".pushsection .rodata\n"
    "pae_start: .code32\n"
    "	mov $0x700, %edx\n"
    "	out %eax, (%dx)\n"
    "	mov 0xd000, %ecx\n"		/* through the pointers */
    "	mov $0x5a1, %edx\n"
    "	out %eax, (%dx)\n"
    "pae_end: .code64\n"
    ".popsection");
extern const char pae_start[], pae_end[];

#define PAE_ROOT	0xa000
#define PAE_DIR		0xb000

static void start_pae(struct vm *vm)
{
	u64 *root = gpa_to_host(vm, PAE_ROOT), *dir = gpa_to_host(vm, PAE_DIR);
	struct kvm_sregs sregs;

	vm_load_payload(vm, 0, pae_start, pae_end);
	root[0] = PAE_DIR | PTE_P;
	dir[0] = PTE_P | PTE_W | PTE_PS;
	*(u32 *)gpa_to_host(vm, 0xd000) = 0xfeedbeef;
	vcpu_set_prot(vm->vcpu, GPA_PAYLOAD);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr3 = PAE_ROOT;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 |= CR0_PG;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
}

static u64 finish_pae(struct vm *vm)
{
	struct kvm_regs regs;

	RUN_UNTIL_DONE(vm->vcpu);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	return regs.rcx ^ regs.rip << 32;
}

#define EVERYTHING .payload = true, .triple_fault = true, .strata_events = true

const struct scene scenes[] = {
	{ "registers", { .nr_vcpus = 1, .payload = true },
	  start_plain, stop_nothing, finish_plain },
	{ "pending exception", { .nr_vcpus = 1, EVERYTHING },
	  start_plain, stop_pending, finish_plain },
	{ "delivery", { .nr_vcpus = 1, EVERYTHING },
	  start_plain, stop_delivering, finish_plain },
	{ "soft event", { .nr_vcpus = 1, EVERYTHING },
	  start_plain, stop_soft, finish_plain },
	{ "controllers", { .nr_vcpus = 2, .irqchip = CHIP_FULL, EVERYTHING },
	  start_apic, stop_apic, finish_apic },
	{ "PAE", { .nr_vcpus = 1, EVERYTHING },
	  start_pae, stop_nothing, finish_pae },
};

const unsigned int nr_scenes = sizeof(scenes) / sizeof(scenes[0]);

struct vm *scene_start(const struct scene *scene)
{
	struct vm *vm = vm_create_with(&scene->config, NULL);

	scene->start(vm);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, PORT_STOP);
	/* Elsewhere the OUT is complete only now. */
	vcpu_run_nothing(vm->vcpu);
	scene->stop(vm);
	return vm;
}

u64 scene_finish(const struct scene *scene, struct vm *vm)
{
	return scene->finish(vm);
}

void scene_show(struct vm *vm)
{
	const volatile __typeof__(seen) *s = guest_var(vm, &seen);
	u64 i;

	for (i = 0; i < s->n && i < 16; i++)
		tap_note(
			"event %llu: vector %llu error %#llx rip %#llx rflags %#llx cr2 %#llx dr6 %#llx cr8 %llu",
			(unsigned long long)i, (unsigned long long)s->event[i].vector,
			(unsigned long long)s->event[i].error, (unsigned long long)s->event[i].rip,
			(unsigned long long)s->event[i].rflags, (unsigned long long)s->event[i].cr2,
			(unsigned long long)s->event[i].dr6, (unsigned long long)s->event[i].cr8);
	for (i = 0; i < 32; i++)
		if (s->reg[i])
			tap_note("register %llu: %#llx", (unsigned long long)i,
				 (unsigned long long)s->reg[i]);
}
