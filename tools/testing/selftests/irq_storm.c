// SPDX-License-Identifier: GPL-2.0
/*
 * What: a storm over four vCPUs: IPIs to each other with answers, TSC-deadline timers, IOAPIC edges
 * and MSIs from userspace; all of them halt whenever they have nothing to do. In the second case
 * everything is stopped at random moments, every controller's state is taken out, overwritten and
 * put back.
 * Conditions: KVM_CREATE_IRQCHIP.
 * Expected: each message is answered and each timer fires, by count. A lost interrupt or wake-up
 * halts a vCPU for ever, and the case times out.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pv.h"

#define NR	4
#define ROUNDS	400
#define DEVICE	60
#define ASK	0x61
#define ANSWER	0x52
#define TIMER	0x71
#define EDGE	0x43
#define MSI	0x83
#define PIN	5
#define IOAPIC	0xfec00000ull
#define MSR_DEADLINE 0x6e0

static volatile u64 asked[NR][NR], answered[NR][NR], heard[NR][NR], fired[NR], armed[NR];
static volatile u64 edges, msis, finished, devices_done;

static u64 me(void)
{
	return this_cpu()->id;
}

static void send(u64 to, u8 vector)
{
	wrmsr(X2(APIC_ICR), to << 32 | vector);
}

/* Whoever asked gets an answer, for all that came meanwhile. */
static void on_ask(struct guest_frame *frame __attribute__((unused)))
{
	u64 i, n, self = me();

	wrmsr(X2(APIC_EOI), 0);
	for (i = 0; i < NR; i++) {
		n = __atomic_load_n(&asked[i][self], __ATOMIC_SEQ_CST);
		if (n == heard[i][self])
			continue;
		heard[i][self] = n;
		__atomic_store_n(&answered[self][i], n, __ATOMIC_SEQ_CST);
		send(i, ANSWER);
	}
}

static void on_end(struct guest_frame *frame __attribute__((unused)))
{
	wrmsr(X2(APIC_EOI), 0);
}

static void on_timer(struct guest_frame *frame __attribute__((unused)))
{
	fired[me()]++;
	wrmsr(X2(APIC_EOI), 0);
}

static void on_edge(struct guest_frame *frame __attribute__((unused)))
{
	edges++;
	wrmsr(X2(APIC_EOI), 0);
}

static void on_msi(struct guest_frame *frame __attribute__((unused)))
{
	msis++;
	wrmsr(X2(APIC_EOI), 0);
}

static void ioapic_write(u32 index, u32 value)
{
	*(volatile u32 *)IOAPIC = index;
	*(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void guest_storm(u64 self)
{
	u64 round, to, seed = self * 7919 + 17;

	this_cpu()->id = self;
	x2apic_on();
	wrmsr(X2(APIC_LVTT), 2 << 17 | TIMER);
	if (!self) {
		out8(0x21, 0xff);
		out8(0xa1, 0xff);
		ioapic_write(0x11 + 2 * PIN, 1u << 24);
		ioapic_write(0x10 + 2 * PIN, EDGE);
	}
	guest_sync(self);
	asm volatile("cli");
	for (round = 0; round < ROUNDS; round++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		to = (self + 1 + (seed >> 33) % (NR - 1)) % NR;
		if (armed[self] == fired[self]) {
			armed[self]++;
			wrmsr(MSR_DEADLINE, rdtsc() + ((seed >> 40) & 0xfffff) + 1);
		}
		__atomic_add_fetch(&asked[self][to], 1, __ATOMIC_SEQ_CST);
		send(to, ASK);
		while (answered[to][self] != asked[self][to])
			asm volatile("sti; hlt; cli");
	}
	while (fired[self] != armed[self])
		asm volatile("sti; hlt; cli");
	if (__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST) == NR)
		wrmsr(X2(APIC_ICR), 0xc0000 | ANSWER);
	while (finished < NR || (self < 2 && !devices_done))
		asm volatile("sti; hlt; cli");
	guest_done();
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool stop;
static int parked, running;

static void park(struct vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	if (stop) {
		parked++;
		pthread_cond_broadcast(&changed);
		while (stop)
			pthread_cond_wait(&changed, &lock);
		parked--;
		pthread_cond_broadcast(&changed);
	}
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&lock);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	int ret;

	for (;;) {
		ret = vcpu_run_raw(vcpu);
		if (ret == -EINTR) {
			park(vcpu);
			continue;
		}
		if (ret || vcpu->run->exit_reason != KVM_EXIT_IO || vcpu->run->io.port != PORT_DONE)
			tap_fail(__FILE__, __LINE__, "vCPU %u: KVM_RUN %d, exit %u, port %#x",
				 vcpu->id, ret, vcpu->run->exit_reason, vcpu->run->io.port);
		break;
	}
	pthread_mutex_lock(&lock);
	running--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void stop_all(struct vm *vm, pthread_t *threads)
{
	int i;

	pthread_mutex_lock(&lock);
	stop = true;
	while (parked < running) {
		struct timespec soon;

		for (i = 0; i < NR; i++) {
			vm->vcpu[i].run->immediate_exit = 1;
			pthread_kill(threads[i], SIGUSR1);
		}
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 5000000;
		if (soon.tv_nsec >= 1000000000) {
			soon.tv_sec++;
			soon.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&changed, &lock, &soon);
	}
	pthread_mutex_unlock(&lock);
}

static void resume_all(void)
{
	pthread_mutex_lock(&lock);
	stop = false;
	pthread_cond_broadcast(&changed);
	while (parked)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

struct image {
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	u64 deadline;
};

static void vcpu_cycle(struct vcpu *vcpu)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_lapic_state again;
	struct image s;

	xioctl(vcpu->fd, KVM_GET_LAPIC, &s.lapic);
	xioctl(vcpu->fd, KVM_GET_MP_STATE, &s.mp);
	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s.events);
	xioctl(vcpu->fd, KVM_GET_SREGS, &s.sregs);
	CHECK_EQ(vcpu_get_msr(vcpu, MSR_DEADLINE, &s.deadline), 1);
	xioctl(vcpu->fd, KVM_GET_LAPIC, &again);
	CHECK(!memcmp(&again, &s.lapic, sizeof(again)));

	/* Another life in between. */
	memset(again.regs + 0x100, 0, 0x180);
	xioctl(vcpu->fd, KVM_SET_LAPIC, &again);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_DEADLINE, 0), 1);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable);

	xioctl(vcpu->fd, KVM_SET_SREGS, &s.sregs);
	CHECK_EQ(vcpu_set_msr(vcpu, MSR_DEADLINE, s.deadline), 1);
	xioctl(vcpu->fd, KVM_SET_LAPIC, &s.lapic);
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &s.events);
	xioctl(vcpu->fd, KVM_SET_MP_STATE, &s.mp);
}

static void chips_cycle(struct vm *vm)
{
	struct kvm_irqchip chip[3], blank;
	struct kvm_pit_state2 pit;
	u32 i;

	for (i = 0; i < 3; i++) {
		chip[i].chip_id = i;
		xioctl(vm->fd, KVM_GET_IRQCHIP, &chip[i]);
		blank = chip[i];
		memset(&blank.chip, 0, sizeof(blank.chip));
		if (i == KVM_IRQCHIP_IOAPIC)
			blank.chip.ioapic.base_address = IOAPIC;
		xioctl(vm->fd, KVM_SET_IRQCHIP, &blank);
		xioctl(vm->fd, KVM_SET_IRQCHIP, &chip[i]);
	}
	xioctl(vm->fd, KVM_GET_PIT2, &pit);
	xioctl(vm->fd, KVM_SET_PIT2, &pit);
}

static void line(struct vm *vm, u32 level)
{
	struct kvm_irq_level irq = { .irq = PIN, .level = level };

	xioctl(vm->fd, KVM_IRQ_LINE, &irq);
}

/* One edge and one MSI at a time: each is counted before the next. */
static void devices(struct vm *vm, pthread_t *threads, bool cycle)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MSI };
	u64 n;
	int i;

	for (n = 1; n <= DEVICE; n++) {
		line(vm, 1);
		xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
		usleep(random() % 2000);
		if (cycle) {
			stop_all(vm, threads);
			for (i = 0; i < NR; i++)
				vcpu_cycle(&vm->vcpu[i]);
			chips_cycle(vm);
			resume_all();
		}
		line(vm, 0);
		while (*guest_var(vm, &edges) < n || *guest_var(vm, &msis) < n)
			usleep(200);
		CHECK_EQ(*guest_var(vm, &edges), n);
		CHECK_EQ(*guest_var(vm, &msis), n);
	}
	*guest_var(vm, &devices_done) = 1;
	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
	msi.address_lo |= 1 << 12;
	xioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void on_signal(int sig __attribute__((unused)))
{
}

static void storm(bool cycle)
{
	struct kvm_pit_config config = { };
	pthread_t threads[NR];
	struct vm *vm;
	int i;

	guest_handlers[ASK] = on_ask;
	guest_handlers[ANSWER] = on_end;
	guest_handlers[TIMER] = on_timer;
	guest_handlers[EDGE] = on_edge;
	guest_handlers[MSI] = on_msi;
	signal(SIGUSR1, on_signal);
	vm = pv_apic_vm(NR, guest_storm);
	xioctl(vm->fd, KVM_CREATE_PIT2, &config);
	for (i = 0; i < NR; i++)
		RUN_UNTIL_SYNC(&vm->vcpu[i], i);
	running = NR;
	for (i = 0; i < NR; i++)
		pthread_create(&threads[i], NULL, vcpu_thread, &vm->vcpu[i]);
	devices(vm, threads, cycle);
	for (i = 0; i < NR; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < NR; i++)
		CHECK_EQ((*guest_var(vm, &fired))[i], (*guest_var(vm, &armed))[i]);
	vm_destroy(vm);
}

TEST_TIMEOUT(storm_by_count, 240)
{
	storm(false);
}

TEST_TIMEOUT(storm_with_get_and_set, 240)
{
	storm(true);
}
