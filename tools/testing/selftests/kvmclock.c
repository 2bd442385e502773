// SPDX-License-Identifier: GPL-2.0
/*
 * What: kvmclock: a vCPU's page against KVM_GET_CLOCK, KVM_SET_CLOCK, save and restore, TSCs out of
 * step, the wall clock, KVM_KVMCLOCK_CTRL.
 * Conditions: none; the exact cases need a host whose TSC is stable.
 * Expected: the guest's clock is KVM_GET_CLOCK's, on every vCPU, and does not go back; a SET
 * touches no guest memory.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pv.h"

#define PAGE(i)	(GPA_HEAP + (i) * 64)
#define WALL	(GPA_HEAP + 0x1000)

static u64 vm_clock(struct vm *vm, u32 *flags)
{
	struct kvm_clock_data data = { };

	xioctl(vm->fd, KVM_GET_CLOCK, &data);
	if (flags)
		*flags = data.flags;
	return data.clock;
}

static void set_clock(struct vm *vm, u64 ns)
{
	struct kvm_clock_data data = { .clock = ns };

	xioctl(vm->fd, KVM_SET_CLOCK, &data);
}

static volatile u64 seen[MAX_VCPUS];

static void guest_reads(u64 me)
{
	const volatile struct pv_clock_page *p = (void *)PAGE(me);

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, PAGE(me) | 1);
	for (;;) {
		GUEST_ASSERT_EQ(p->version & 1, 0);
		seen[me] = pv_clock(p);
		guest_sync(me);
	}
}

static u64 read_on(struct vm *vm, unsigned int i)
{
	RUN_UNTIL_SYNC(&vm->vcpu[i], i);
	return *guest_var(vm, &seen[i]);
}

static struct vm *clock_vm(unsigned int nr)
{
	struct vm *vm = vm_create(nr);
	unsigned int i;

	for (i = 0; i < nr; i++)
		vcpu_set_long(&vm->vcpu[i], guest_reads, i);
	return vm;
}

static struct pv_clock_page *page(struct vm *vm, unsigned int i)
{
	return gpa_to_host(vm, PAGE(i));
}

TEST(agrees_with_get_clock)
{
	struct vm *vm = clock_vm(2);
	u64 last = 0, now;
	u32 flags;
	int i;

	vm_clock(vm, &flags);
	CHECK(flags & KVM_CLOCK_REALTIME);
	if (!(flags & KVM_CLOCK_HOST_TSC))
		tap_skip("the host's TSC is not stable");
	for (i = 0; i < 200; i++) {
		now = read_on(vm, i & 1);
		CHECK(now >= last);
		last = vm_clock(vm, &flags);
		CHECK(last >= now);
	}
	CHECK_EQ(!!(flags & KVM_CLOCK_TSC_STABLE), page(vm, 0)->flags & CLOCK_STABLE);
	if (page(vm, 0)->flags & CLOCK_STABLE)
		CHECK(!memcmp(&page(vm, 0)->tsc, &page(vm, 1)->tsc, 24));
	vm_destroy(vm);
}

TEST(set_clock_moves_it)
{
	struct kvm_clock_data data = { };
	struct vm *vm = clock_vm(2);
	u64 now;

	read_on(vm, 0);
	read_on(vm, 1);
	set_clock(vm, 1000000000000ull);
	now = read_on(vm, 1);
	CHECK(now >= 1000000000000ull && now < 1060000000000ull);
	CHECK(read_on(vm, 0) >= now);
	/* Backwards too, as userspace says so. */
	set_clock(vm, 5000);
	CHECK(read_on(vm, 0) < 60000000000ull);
	/* A wall clock ten seconds ago: they have passed for the guest as well. */
	xioctl(vm->fd, KVM_GET_CLOCK, &data);
	data.flags &= KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | KVM_CLOCK_TSC_STABLE;
	data.realtime -= 10000000000ull;
	now = data.clock;
	xioctl(vm->fd, KVM_SET_CLOCK, &data);
	CHECK(read_on(vm, 0) >= now + 10000000000ull);
	data.flags = 0x80;
	CHECK_EQ(kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data), -EINVAL);
	vm_destroy(vm);
}

/* What a VMM carries: the clock, the TSC, the page's address, in either order. */
static struct vm *restored(struct vm *old, const struct kvm_clock_data *clock, u64 tsc,
			   bool clock_first)
{
	struct vm *vm = clock_vm(2);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	u64 msr, i;

	memcpy(vm->mem, old->mem, SLOT0_SIZE);
	if (clock_first)
		xioctl(vm->fd, KVM_SET_CLOCK, clock);
	for (i = 0; i < 2; i++) {
		xioctl(old->vcpu[i].fd, KVM_GET_REGS, &regs);
		xioctl(old->vcpu[i].fd, KVM_GET_SREGS, &sregs);
		xioctl(vm->vcpu[i].fd, KVM_SET_REGS, &regs);
		xioctl(vm->vcpu[i].fd, KVM_SET_SREGS, &sregs);
		CHECK_EQ(vcpu_get_msr(&old->vcpu[i], MSR_KVM_SYSTEM_TIME_NEW, &msr), 1);
		CHECK_EQ(msr, PAGE(i) | 1);
		CHECK_EQ(vcpu_set_msr(&vm->vcpu[i], MSR_KVM_SYSTEM_TIME, msr), 1);
		CHECK_EQ(vcpu_set_msr(&vm->vcpu[i], MSR_TSC, tsc), 1);
	}
	if (!clock_first)
		xioctl(vm->fd, KVM_SET_CLOCK, clock);
	CHECK(!memcmp(page(vm, 0), page(old, 0), 32));
	return vm;
}

TEST(survives_save_and_restore)
{
	struct vm *vm = clock_vm(2), *next;
	struct kvm_clock_data clock = { };
	u64 before, after, tsc;
	int i;

	for (i = 0; i < 6; i++) {
		before = read_on(vm, i & 1);
		read_on(vm, !(i & 1));
		xioctl(vm->fd, KVM_GET_CLOCK, &clock);
		CHECK(clock.clock >= before);
		CHECK_EQ(vcpu_get_msr(vm->vcpu, MSR_TSC, &tsc), 1);
		/*
		 * Time that passes between is not the guest's unless the wall clock is carried
		 * along.
		 */
		clock.flags = i < 3 ? 0 : KVM_CLOCK_REALTIME;
		usleep(20000);
		next = restored(vm, &clock, tsc - 1000000 * i, i & 1);
		after = read_on(next, 0);
		CHECK(after >= clock.clock);
		CHECK(after - clock.clock < 30000000000ull);
		if (i >= 3)
			CHECK(after - clock.clock >= 20000000);
		CHECK(read_on(next, 1) >= after);
		vm_destroy(vm);
		vm = next;
	}
	vm_destroy(vm);
}

/* A TSC of its own makes a vCPU's page one for itself; the clock stays the same. */
TEST(tsc_out_of_step)
{
	struct vm *vm = clock_vm(2);
	u64 last = 0, now;
	u8 stable;
	int i;

	read_on(vm, 0);
	read_on(vm, 1);
	stable = page(vm, 0)->flags & CLOCK_STABLE;
	CHECK_EQ(vcpu_set_msr(&vm->vcpu[1], MSR_TSC, 1ull << 60), 1);
	for (i = 0; i < 50; i++) {
		now = read_on(vm, i & 1);
		CHECK(!stable || now >= last);
		last = vm_clock(vm, NULL);
		CHECK(!stable || last >= now);
	}
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STABLE, 0);
	CHECK_EQ(page(vm, 1)->flags & CLOCK_STABLE, 0);
	vm_destroy(vm);
}

static volatile u64 newest, reads;

static void guest_races(u64 me)
{
	const volatile struct pv_clock_page *p = (void *)PAGE(me);
	u64 i;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, PAGE(me) | 1);
	for (i = 0; i < 2000; i++) {
		u64 old = __atomic_load_n(&newest, __ATOMIC_SEQ_CST), now = pv_clock(p);

		if (p->flags & CLOCK_STABLE)
			GUEST_ASSERT(now >= old);
		while (old < now &&
		       !__atomic_compare_exchange_n(&newest, &old, now, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
		__atomic_add_fetch(&reads, 1, __ATOMIC_SEQ_CST);
		if (i % 100 == 99)
			guest_sync(i);
	}
	guest_done();
}

static void *race(void *arg)
{
	struct vcpu *vcpu = arg;
	enum run_end end;

	do {
		end = vcpu_run(vcpu);
		/* Makes the page be written anew. */
		if (end == RUN_SYNC)
			kvm_ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL);
	} while (end == RUN_SYNC);
	CHECK_EQ(end, RUN_DONE);
	return NULL;
}

/* A value read on one vCPU is never above one read later on another. */
TEST_TIMEOUT(same_on_all_vcpus, 240)
{
	struct vm *vm = vm_create(4);
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++) {
		vcpu_set_long(&vm->vcpu[i], guest_races, i);
		pthread_create(&threads[i], NULL, race, &vm->vcpu[i]);
	}
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(*guest_var(vm, &reads), 8000);
	vm_destroy(vm);
}

static void guest_wall(void)
{
	wrmsr(MSR_KVM_WALL_CLOCK_NEW, WALL);
	guest_reads(0);
}

TEST(wall_clock)
{
	struct vm *vm = vm_create(1);
	u32 *wall = gpa_to_host(vm, WALL);
	struct timespec now;
	long long diff;

	vcpu_set_long(vm->vcpu, guest_wall, 0);
	wall[0] = 7;
	diff = (long long)read_on(vm, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK_EQ(wall[0], 8);
	diff += wall[1] * 1000000000ll + wall[2];
	diff -= now.tv_sec * 1000000000ll + now.tv_nsec;
	CHECK(diff > -30000000000ll && diff < 1000000000ll);
	/* Restored, it was written already. */
	wall[1] = 0;
	CHECK_EQ(vcpu_set_msr(vm->vcpu, MSR_KVM_WALL_CLOCK, WALL), 1);
	read_on(vm, 0);
	CHECK_EQ(wall[1], 0);
	vm_destroy(vm);
}

TEST(guest_is_told_of_a_pause)
{
	struct vm *vm = clock_vm(1);

	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_KVMCLOCK_CTRL, NULL), -EINVAL);
	read_on(vm, 0);
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STOPPED, 0);
	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_KVMCLOCK_CTRL, NULL), 0);
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STOPPED, 0);
	read_on(vm, 0);
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STOPPED, CLOCK_STOPPED);
	set_clock(vm, 1000);
	read_on(vm, 0);
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STOPPED, CLOCK_STOPPED);
	page(vm, 0)->flags &= ~CLOCK_STOPPED;
	set_clock(vm, 2000);
	read_on(vm, 0);
	CHECK_EQ(page(vm, 0)->flags & CLOCK_STOPPED, 0);
	vm_destroy(vm);
}
