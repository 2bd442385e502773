// SPDX-License-Identifier: GPL-2.0
/*
 * What: NMIs, SMIs, INITs and SIPIs from another thread at any moment of KVM_RUN and of the
 * getters.
 * Conditions: in-kernel interrupt controllers. One event of a kind is under way at a time; the
 * sender counts before and after it sends.
 * Expected: an event sent before the getters began and not yet taken is in the image; none is in
 * there twice; the image, set into another VM, goes on with it; nothing is lost in the vCPU it came
 * from.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "smm.h"
#include "state.h"

#define MSG_INIT	(5 << 8 | 1 << 14)
#define MSG_SIPI	(6 << 8 | 1 << 14)
#define STARTS_GPA	0x7e00ull
#define ROUNDS		60

static volatile u64 nmis;

/* At the SIPI's address: count, then loop. In real mode, DS is 0. */
asm(".pushsection .rodata\n"
    ".globl ap_counts, ap_counts_end\n"
    "ap_counts:		.code16; incl 0x7e00; 1: outb %al, $0x78; jmp 1b; .code64\n"
    "ap_counts_end:\n"
    ".popsection");
extern const char ap_counts[], ap_counts_end[];

static void on_nmi(struct guest_frame *frame)
{
	(void)frame;
	nmis++;
}

static void guest_loops(void)
{
	for (;;)
		asm volatile("outb %al, $0x78");
}

struct sender {
	struct vm *vm;
	struct vcpu *vcpu;
	volatile u64 begun, sent;	/* events of the kind */
	volatile u64 *taken;
	volatile bool stop;
	int kind;
};

enum { SEND_NMI, SEND_SMI, SEND_START };

static void message(struct vm *vm, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | 1 << 12, .data = data };

	kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void send_one(struct sender *s)
{
	struct timespec pause = { .tv_nsec = (rand() & 0x3ff) << 10 };

	nanosleep(&pause, NULL);
	s->begun++;
	__sync_synchronize();
	switch (s->kind) {
	case SEND_NMI:
		kvm_ioctl(s->vcpu->fd, KVM_NMI, NULL);
		break;
	case SEND_SMI:
		message(s->vm, 2 << 8);
		break;
	case SEND_START:
		message(s->vm, MSG_INIT);
		message(s->vm, MSG_SIPI | GPA_PAYLOAD >> 12);
		break;
	}
	__sync_synchronize();
	s->sent++;
}

static void *sender(void *arg)
{
	struct sender *s = arg;

	while (!s->stop) {
		send_one(s);
		while (*s->taken < s->sent && !s->stop)
			sched_yield();
	}
	return NULL;
}

static struct vm *race_vm(u8 **smram)
{
	struct vm *vm;

	guest_handlers[NMI_VECTOR] = on_nmi;
	vm = vm_create_with(&(struct vm_config) { .nr_vcpus = 2, .irqchip = CHIP_FULL }, NULL);
	*smram = smm_prepare(vm, 2);
	vm_load_payload(vm, 0, ap_counts, ap_counts_end);
	return vm;
}

/* To the next OUT of any kind: SMM's handler counts as a stop too. */
static u16 run_to_port(struct vcpu *vcpu)
{
	int r;

	do
		r = vcpu_run_raw(vcpu);
	while (r == -EINTR || r == -EAGAIN);
	REQUIRE_EQ(r, 0);
	REQUIRE_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
	return vcpu->run->io.port;
}

/* It takes two getters to see a SIPI: one that came between them is in the next image. */
static void get_image(struct vcpu *vcpu, struct smm_state *s)
{
	bool vector;

	do {
		smm_get_state(vcpu, s);
		vector = s->events.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	} while (vector != (s->mp.mp_state == KVM_MP_STATE_SIPI_RECEIVED));
}

static u64 waiting(const struct smm_state *s, int kind)
{
	switch (kind) {
	case SEND_NMI:
		return s->events.nmi.pending + s->events.nmi.injected;
	case SEND_SMI:
		return s->events.smi.pending;
	default:
		return s->mp.mp_state == KVM_MP_STATE_SIPI_RECEIVED;
	}
}

/* The image in another VM takes what it holds. */
static void go_on(struct vm *vm, const struct smm_state *s, const u8 *smram, int kind, u64 taken)
{
	u8 *ram;
	struct vm *other = race_vm(&ram);
	u16 port;

	memcpy(other->mem, vm->mem, SLOT0_SIZE);
	memcpy(ram, smram, SMRAM_SIZE);
	smm_set_state(&other->vcpu[1], s);
	port = run_to_port(&other->vcpu[1]);
	if (kind == SEND_SMI)
		CHECK_EQ(port, PORT_SMM);
	if (kind == SEND_NMI)
		CHECK_EQ(*guest_var(other, &nmis), taken + 1);
	if (kind == SEND_START)
		CHECK_EQ(*(u32 *)gpa_to_host(other, STARTS_GPA), taken + 1);
	vm_destroy(other);
}

static void race(int kind)
{
	u8 *smram;
	struct vm *vm = race_vm(&smram);
	struct vcpu *vcpu = &vm->vcpu[1];
	volatile u64 smis = 0, starts = 0;
	struct sender s = { .vm = vm, .vcpu = vcpu, .kind = kind };
	unsigned int round, waited = 0;
	pthread_t thread;

	s.taken = kind == SEND_NMI ? guest_var(vm, &nmis) : kind == SEND_SMI ? &smis : &starts;
	vcpu_set_long(vcpu, guest_loops, 0);
	vcpu_set_mp_state(vcpu, KVM_MP_STATE_RUNNABLE);
	run_to_port(vcpu);
	pthread_create(&thread, NULL, sender, &s);
	for (round = 0; round < ROUNDS || waited < 5; round++) {
		struct smm_state state;
		u64 before, taken, after, has;

		if (run_to_port(vcpu) == PORT_SMM)
			smis++;
		starts = *(volatile u32 *)gpa_to_host(vm, STARTS_GPA);
		taken = *s.taken;
		before = s.sent;
		__sync_synchronize();
		get_image(vcpu, &state);
		__sync_synchronize();
		after = s.begun;
		has = waiting(&state, kind);
		if (taken + has < before || taken + has > after)
			tap_die(__FILE__, __LINE__,
				"round %u: %llu sent before, %llu taken, %llu in the image, %llu begun after",
				round, (unsigned long long)before, (unsigned long long)taken,
				(unsigned long long)has, (unsigned long long)after);
		if (has && waited++ < 10)
			go_on(vm, &state, smram, kind, taken);
		/* Let the other thread be anywhere. */
		if (round & 1)
			sched_yield();
		REQUIRE(round < 100000);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	tap_note("%u stops, %u with one in the image, %llu sent", round, waited,
		 (unsigned long long)s.sent);
	vm_destroy(vm);
}

TEST_TIMEOUT(nmi, 120)		{ race(SEND_NMI); }
TEST_TIMEOUT(smi, 120)		{ race(SEND_SMI); }
TEST_TIMEOUT(init_sipi, 120)	{ race(SEND_START); }
