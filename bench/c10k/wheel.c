/* Timers: a hashed wheel.  Each user has at most one timer, and is linked into its slot of the wheel,
 * so that setting and clearing one allocates nothing and searches nothing. */

#include "users.h"

#define WHEEL_SLOTS 8192u
#define NOBODY UINT32_MAX
#define SLOT_BIT (1u << 31)

static uint64_t wheel_tick;
static uint32_t wheel[WHEEL_SLOTS];

void wheel_prepare(void)
{
    for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
        wheel[slot] = NOBODY;
    wheel_tick = time_ns / TICK_NS;
}

void timer_clear(struct user *user)
{
    if (user->due_ns == 0)
        return;
    if (user->previous & SLOT_BIT)
        wheel[user->previous & ~SLOT_BIT] = user->next;
    else
        users[user->previous].next = user->next;
    if (user->next != NOBODY)
        users[user->next].previous = user->previous;
    user->due_ns = 0;
}

static void timer_link(struct user *user, uint64_t tick)
{
    uint32_t slot = (uint32_t)(tick % WHEEL_SLOTS);

    user->previous = slot | SLOT_BIT;
    user->next = wheel[slot];
    if (user->next != NOBODY)
        users[user->next].previous = index_of(user);
    wheel[slot] = index_of(user);
}

/* Of a deadline beyond the wheel's turn, the slot comes round earlier: it is then linked again. */
void timer_set(struct user *user, uint64_t due_ns)
{
    uint64_t tick = due_ns / TICK_NS + 1;

    timer_clear(user);
    user->due_ns = due_ns;
    timer_link(user, tick > wheel_tick ? tick : wheel_tick + 1);
}

void timer_in(struct user *user, double seconds)
{
    timer_set(user, time_ns + (uint64_t)(seconds * 1e9));
}

static void run_slot(uint64_t tick, void (*fired)(struct user *user))
{
    uint32_t at = wheel[tick % WHEEL_SLOTS];

    wheel[tick % WHEEL_SLOTS] = NOBODY;
    while (at != NOBODY) {
        struct user *user = &users[at];
        uint64_t due_ns = user->due_ns;

        at = user->next;
        if (at != NOBODY) /* what is left of the list begins at the slot, should it be unlinked */
            users[at].previous = (uint32_t)(tick % WHEEL_SLOTS) | SLOT_BIT;
        user->due_ns = 0;
        if (due_ns <= time_ns)
            fired(user);
        else
            timer_set(user, due_ns);
    }
}

void run_timers(void (*fired)(struct user *user))
{
    uint64_t tick = time_ns / TICK_NS;

    if (tick - wheel_tick > WHEEL_SLOTS)
        wheel_tick = tick - WHEEL_SLOTS;
    while (wheel_tick < tick)
        run_slot(++wheel_tick, fired);
}
